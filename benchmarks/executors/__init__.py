"""Executors: how cells are mapped to processes and machines. The harness above cannot tell which one ran."""
