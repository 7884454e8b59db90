"""Helpers of all packages: errors, files, locks, the machine, statistics over seeds."""
