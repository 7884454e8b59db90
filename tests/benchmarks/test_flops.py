"""Counted operations against torch's own counter, which sees each product, and against arithmetic."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops
from vaezoo import VARIANTS, DataSpec, build, mlp_normal, parts

SPEC = DataSpec((8, 8), "bernoulli", (16,))


def both(variant):
    """Ours, and the library's."""
    model, x, noise = build(variant, SPEC, 5), torch.zeros(20, 8, 8), torch.zeros(variant.draws, 20, 5)
    with FlopCounterMode(display=False) as counter:
        stochastic, exact = parts(variant, model, x, noise, torch.zeros(()))
        torch.autograd.grad((stochastic + exact).sum(), list(model.parameters()), materialize_grads=True)
    return flops.per_example(variant, SPEC, 5), counter.get_total_flops() / len(x)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_each_product_there_and_back_is_counted(variant):
    ours, theirs = both(variant)
    assert ours == theirs


def convolutional(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    image, convolution = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 3, 3)
    model.encoder.trunk = nn.Sequential(image, convolution, nn.Flatten(), nn.Linear(108, 16))
    there = nn.Sequential(nn.Linear(5, 98), nn.Unflatten(2, (2, 7, 7)), nn.Flatten(0, 1))
    back = nn.Sequential(nn.ConvTranspose2d(2, 1, 2), nn.Flatten(), nn.Unflatten(0, (1, -1)))
    model.decoder.network = nn.Sequential(there, back)
    return model


def test_convolutions_are_counted():
    ours, theirs = both(dataclasses.replace(VARIANTS[1], architecture=convolutional))
    assert ours == theirs


def test_the_reference_protocols_vae():
    """2 (3 x 16,000 + 2 x 313,600 + 3 x 8,000 + 3 x 313,600) multiplications and additions."""
    found = flops.per_example(VARIANTS[1], DataSpec((28, 28), "bernoulli", (400,)), 20)
    assert found == 2 * (3 * 16_000 + 2 * 313_600 + 3 * 8_000 + 3 * 313_600)
