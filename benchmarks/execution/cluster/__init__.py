"""Cells on the workers of a Dask cluster. Dask is an extra."""
