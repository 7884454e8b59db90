"""Counted operations against torch's own counter, which sees each product, and against arithmetic."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops
from vaezoo import VARIANTS, DataSpec, build, parts


def both(variant, model, x):
    noise = torch.zeros(variant.draws, len(x), model.latent_dim)
    with FlopCounterMode(display=False) as counter:
        stochastic, exact = parts(variant, model, x, noise, torch.zeros(()))
        torch.autograd.grad((stochastic + exact).sum(), list(model.parameters()), materialize_grads=True)
    return flops.per_example(variant, model, x, noise), counter.get_total_flops() / len(x)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_each_product_there_and_back_is_counted(variant):
    ours, theirs = both(variant, build(variant, DataSpec((8, 8), "bernoulli", (16,)), 5), torch.zeros(20, 8, 8))
    assert ours == theirs


def test_convolutions_are_counted():
    variant = VARIANTS[1]
    model = build(variant, DataSpec((8, 8), "bernoulli", (16,)), 5)
    model.encoder.trunk = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 16)
    )
    model.decoder.network = nn.Sequential(
        nn.Linear(5, 98), nn.Unflatten(2, (2, 7, 7)), nn.Flatten(0, 1), nn.ConvTranspose2d(2, 1, 2), nn.Flatten(),
        nn.Unflatten(0, (1, -1)),
    )  # fmt: skip
    ours, theirs = both(variant, model, torch.zeros(20, 8, 8))
    assert ours == theirs


def test_the_reference_protocols_vae():
    """2 (3 x 16,000 + 2 x 313,600 + 3 x 8,000 + 3 x 313,600) multiplications and additions."""
    variant = VARIANTS[1]
    x, noise = torch.zeros(10, 28, 28), torch.zeros(1, 10, 20)
    model = build(variant, DataSpec((28, 28), "bernoulli", (400,)), 20)
    assert flops.per_example(variant, model, x, noise) == 2 * (3 * 16_000 + 2 * 313_600 + 3 * 8_000 + 3 * 313_600)
