"""The machine of a run: cores, inherited settings, folders for temporary files and the cache. Needs no torch."""
