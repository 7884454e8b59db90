"""Claims: published numbers, the runs that reproduce them, and a status that the numbers decide."""
