"""Gauss-Hermite quadrature: expectations over the standard normal noise of K draws without sampling."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

MAX_NODES = 40
MAX_GRID_POINTS = 120_000


def gauss_hermite(count: int) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return N nodes and weights with sum_i w_i f(e_i) = E[f(e)], e ~ N(0, 1), for polynomials f up to degree 2N - 1.

    Source: Golub and Welsch 1969, Calculation of Gauss quadrature rules: eigenvalues of the Jacobi matrix, and the
    squares of the first components of its eigenvectors.
    """
    off_diagonal = torch.arange(1, count, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1))
    return nodes, vectors[0].square()


def grid_nodes(dimensions: int, max_points: int = MAX_GRID_POINTS) -> int:
    """Return the largest number of nodes, at least 3, of a full grid with at most this number of points."""
    largest: float = max_points ** (1 / dimensions)
    return max(3, min(MAX_NODES, math.floor(largest + 1e-9)))


def grid_rule(draws: int, latents: int, nodes: int) -> tuple[Float[Tensor, "K M D"], Float[Tensor, " M"]]:
    """Return points and weights of the full product rule over K draws of D latents, for any function of the noise."""
    points, weight = gauss_hermite(nodes)
    dimensions = draws * latents
    grid = torch.cartesian_prod(*[points] * dimensions).view(-1, draws, latents)
    weights = torch.cartesian_prod(*[weight] * dimensions).view(-1, dimensions).prod(1)
    return grid.transpose(0, 1), weights
