"""Figures of a run. Importing them takes about 1 s for matplotlib; none imports torch."""
