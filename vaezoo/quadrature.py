"""Expectations over the standard normal noise of K draws without sampling: Gauss-Hermite quadrature."""

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


def most_nodes(draws: int, latents: int) -> int:
    """The finest rule for K draws of D latents that stays below `MOST_POINTS` points."""
    fitting = [n for n in range(2, MOST_NODES + 1) if math.comb(n**latents + draws - 1, draws) <= MOST_POINTS]
    return max(fitting, default=2)


def points(draws: int, latents: int, nodes: int) -> tuple[Float[Tensor, "K M D"], Float[Tensor, " M"]]:
    """The product rule over K draws of D latents, for functions that don't mind the order of the draws.

    Each multiset of points of the rule for one draw is there once; counts c_n of them stand for K! / prod c_n! orders.
    """
    at, weight = gauss_hermite(nodes)
    grid = torch.cartesian_prod(*[at] * latents).view(-1, latents)
    log_weight = torch.cartesian_prod(*[weight.log()] * latents).view(-1, latents).sum(1)
    index = torch.tensor(list(combinations_with_replacement(range(len(grid)), draws)))
    same = (index[:, :, None] == index[:, None, :]).sum(2)  # of each draw's point among the K: counts c, c times over
    orders = math.lgamma(draws + 1) - ((same + 1.0).double().lgamma() / same).sum(1)
    return grid[index].transpose(0, 1), (orders + log_weight[index].sum(1)).exp()
