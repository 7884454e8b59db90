"""The reference run, with which new runs are compared, and the history of reference runs."""
