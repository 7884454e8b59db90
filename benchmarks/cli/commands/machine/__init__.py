"""Commands about this machine: what it lacks, and where time goes."""
