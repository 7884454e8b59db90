"""What the server that forks the cells' processes imports once, for all of them."""

import torch._dynamo  # torch.optim imports it at its first use: 1.5 seconds, otherwise in every cell

import benchmarks.experiment

__all__ = ["benchmarks", "torch"]
