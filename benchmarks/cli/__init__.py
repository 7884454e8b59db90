"""The command line: its commands, their options, and exit codes."""
