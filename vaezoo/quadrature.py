"""Expectations over the noise of K draws without sampling: Gauss-Hermite quadrature for one standard normal latent."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

MOST_POINTS = 150_000
MOST_NODES = 40


def gauss_hermite(count: int) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Nodes and weights with sum_i w_i f(e_i) = E[f(e)], e ~ N(0, 1), exact for polynomials up to degree 2N - 1.

    Source: Golub and Welsch 1969, Calculation of Gauss quadrature rules: eigenvalues of the Jacobi matrix, and the
    squares of the first components of its eigenvectors.
    """
    side = torch.arange(1, count, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(side, 1) + torch.diag(side, -1))
    return nodes, vectors[0].square()


def most_nodes(draws: int) -> int:
    """The finest rule for K draws that stays below `MOST_POINTS` points."""
    fitting = [n for n in range(2, MOST_NODES + 1) if math.comb(n + draws - 1, draws) <= MOST_POINTS]
    return max(fitting, default=2)


def points(draws: int, nodes: int) -> tuple[Float[Tensor, "K M"], Float[Tensor, " M"]]:
    """The product rule over K draws, for functions that don't mind their order: each multiset of nodes once.

    A multiset with counts c_n stands for K! / prod c_n! orders.
    """
    at, weight = gauss_hermite(nodes)
    index = torch.tensor(list(combinations_with_replacement(range(nodes), draws)))
    counts = torch.nn.functional.one_hot(index, nodes).sum(1).double()
    orders = math.lgamma(draws + 1) - (counts + 1).lgamma().sum(1)
    return at[index].T, (orders + weight.log()[index].sum(1)).exp()
