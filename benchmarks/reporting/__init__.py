"""Tables and figures, from the rows of results.csv alone."""
