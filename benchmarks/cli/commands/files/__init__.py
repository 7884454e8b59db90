"""Commands that change or make files of runs."""
