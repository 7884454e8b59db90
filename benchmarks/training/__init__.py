"""Cells that train a variant and measure it at each checkpoint."""
