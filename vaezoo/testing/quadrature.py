"""Gauss-Hermite quadrature: expectations over the standard normal noise of K draws without sampling."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

MAX_POINTS = 150_000
MAX_NODES = 40


def gauss_hermite(count: int) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return N nodes and weights with sum_i w_i f(e_i) = E[f(e)], e ~ N(0, 1), for polynomials f up to degree 2N - 1.

    Source: Golub and Welsch 1969, Calculation of Gauss quadrature rules: eigenvalues of the Jacobi matrix, and the
    squares of the first components of its eigenvectors.
    """
    off_diagonal = torch.arange(1, count, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1))
    return nodes, vectors[0].square()


def max_nodes(draws: int, latents: int) -> int:
    """Return the largest number of nodes, at least 2, with at most `MAX_POINTS` points for K draws of D latents."""
    allowed = [n for n in range(2, MAX_NODES + 1) if math.comb(n**latents + draws - 1, draws) <= MAX_POINTS]
    return max(allowed, default=2)


def product_rule(draws: int, latents: int, nodes: int) -> tuple[Float[Tensor, "K M D"], Float[Tensor, " M"]]:
    """Return points and weights of the product rule over K draws of D latents, for functions symmetric in the draws.

    Each multiset of K points of the rule for one draw occurs once. If point n occurs c_n times in it, its weight counts
    K! / prod_n c_n! orders.
    """
    points, weight = gauss_hermite(nodes)
    grid = torch.cartesian_prod(*[points] * latents).view(-1, latents)
    log_weight = torch.cartesian_prod(*[weight.log()] * latents).view(-1, latents).sum(1)
    index = torch.tensor(list(combinations_with_replacement(range(len(grid)), draws)))
    counts = (index[:, :, None] == index[:, None, :]).sum(2)  # for each draw, how many of the K draws have its point
    log_orders = math.lgamma(draws + 1) - ((counts + 1.0).double().lgamma() / counts).sum(1)
    return grid[index].transpose(0, 1), (log_orders + log_weight[index].sum(1)).exp()
