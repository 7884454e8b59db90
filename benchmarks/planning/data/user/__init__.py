"""Data sets of a user: arrays, files and folders of images."""
