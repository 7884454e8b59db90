"""Data sets: the registered ones, files of the user, the cache of decoded arrays, and tensors for training."""
