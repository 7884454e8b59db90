"""Imports of code that the project does not know: it may fail, hang, end the process, or change global settings."""
