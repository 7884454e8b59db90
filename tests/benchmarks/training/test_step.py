"""The training step: Adam against torch's optimizer, the count of its operations, and the check of a compiled one."""

import contextlib
import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.planning.random_streams import make_generator
from benchmarks.training import compilation
from benchmarks.training.step import count_flops, fused_adam_decomposition, initial_optimizer, take_step
from vaezoo import VARIANTS, DataSpec, build, estimate_parts, initialise, mlp_normal

SPEC = DataSpec((8, 8), "bernoulli", (16,))


def test_adam_has_the_same_bits_as_torch_also_for_zero_gradients():
    torch.manual_seed(0)
    layer, torch_layer = (nn.Linear(7, 5) for _ in range(2))
    torch_layer.load_state_dict(layer.state_dict())
    adam = initial_optimizer(layer.parameters(), 0.01)
    torch_adam = torch.optim.Adam(torch_layer.parameters(), lr=0.01, fused=True)
    for step in range(20):
        gradients = [torch.randn_like(p) * (step % 3) for p in torch_layer.parameters()]
        for parameter, gradient in zip(torch_layer.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        torch_adam.step()
        adam.descend(gradients)
        assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), torch_layer.parameters(), strict=True))


def test_the_decomposition_of_adam_differs_by_rounding_only():
    torch.manual_seed(0)
    start = [torch.randn(7, 5), torch.randn(5)]
    fused, decomposed = (initial_optimizer([p.clone() for p in start], 0.01) for _ in range(2))
    for _ in range(20):
        gradients = [torch.randn_like(p) for p in start]
        fused.descend(gradients)
        decomposed.count.add_(1)
        lists = decomposed.parameters, gradients, decomposed.means, decomposed.squares, [], [decomposed.count] * 2
        fused_adam_decomposition(*lists, lr=decomposed.learning_rate, beta1=0.9, beta2=0.999, eps=1e-8)
    for a, b in zip(decomposed.tensors, fused.tensors, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def torch_flops(variant):
    """Operations per example, by torch's counter, which sees every product."""
    model, x, noise = build(variant, SPEC, 10), torch.zeros(20, 8, 8), torch.zeros(variant.draws, 20, 10)
    with FlopCounterMode(display=False) as counter:
        stochastic, exact = estimate_parts(variant, model, x, noise, torch.zeros(()))
        torch.autograd.grad((stochastic + exact).sum(), list(model.parameters()), materialize_grads=True)
    return counter.get_total_flops() / len(x)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_products_of_both_passes_are_counted(variant):
    assert count_flops(variant, SPEC, 10) == torch_flops(variant)


def convolutional(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    image, convolution = nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 3, 3)
    model.encoder.trunk = nn.Sequential(image, convolution, nn.Flatten(), nn.Linear(108, 16))
    to_image = nn.Sequential(nn.Linear(10, 98), nn.Unflatten(2, (2, 7, 7)), nn.Flatten(0, 1))
    to_pixels = nn.Sequential(nn.ConvTranspose2d(2, 1, 2), nn.Flatten(), nn.Unflatten(0, (1, -1)))
    model.decoder.network = nn.Sequential(to_image, to_pixels)
    return model


def test_convolutions_are_counted():
    variant = dataclasses.replace(VARIANTS[1], architecture=convolutional)
    assert count_flops(variant, SPEC, 10) == torch_flops(variant)


def test_operations_of_the_vae_of_the_default_preset():
    """2 (3 x 16,000 + 2 x 313,600 + 3 x 8,000 + 3 x 313,600) multiplications and additions."""
    flops = count_flops(VARIANTS[1], DataSpec((28, 28), "bernoulli", (400,)), 20)
    assert flops == 2 * (3 * 16_000 + 2 * 313_600 + 3 * 8_000 + 3 * 313_600)


@pytest.mark.parametrize(("error", "is_refused"), [(0.9e-3, False), (1.2e-3, True)])
@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_the_gradient_may_differ_by_a_thousandth_of_its_size(monkeypatch, error, is_refused, scale):
    """Pixels that differ little from grey have a small gradient, for which an absolute tolerance would be too large."""
    model = build(VARIANTS[1], DataSpec((8, 8), "gaussian", (16,)), 5)
    initialise(model, lambda name: make_generator(0, f"init/{name}"))
    x, noise = scale * torch.ones(20, 8, 8), torch.randn(1, 20, 5, generator=make_generator(0, "noise"))

    def load(path, adam, average):
        def take(x, noise, progress):
            loss = take_step(VARIANTS[1], copy.deepcopy(model), adam, average, "float32", x, noise, progress)
            for mean in adam.means:
                mean.mul_(1 + error)
            return loss

        return take

    monkeypatch.setattr(compilation, "load_step", load)
    with pytest.raises(RuntimeError, match="differs from") if is_refused else contextlib.nullcontext():
        compilation.check_step("step.pt2", VARIANTS[1], model, torch.zeros(()), "float32", x, noise, torch.ones(1))
