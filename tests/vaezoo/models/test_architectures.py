"""Architectures: networks for data of any shape, and their initial values."""

import math

import pytest
import torch
from torch import nn

from vaezoo import ARCHITECTURES, VARIANTS, Architecture, DataSpec, build, find_state, initialise, initialise_output
from vaezoo.distributions.likelihoods import LIKELIHOODS
from vaezoo.models import ACTIVATIONS, CONV, MLP, MLP_2

VAE = next(v for v in VARIANTS if v.name == "vae")
SHAPES = [(28, 28), (32, 32, 3), (7, 5), (1, 1), (12, 20, 1)]


def with_buffer():
    layer = nn.Linear(4, 4)
    layer.register_buffer("frequencies", torch.arange(4))
    return layer


def draw(model, scheme="uniform"):
    initialise(model, lambda name: torch.Generator().manual_seed(sum(map(ord, name))), scheme)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_networks_fit_images_of_any_size(architecture, shape):
    model = build(VAE, DataSpec(shape, "bernoulli", (6, 4), architecture), 3)
    pixels = math.prod(shape)
    q = model.encoder(torch.zeros(2, *shape))
    assert q.mean.shape == (2, 3)
    assert model.decoder(torch.zeros(5, 2, 3)).shape == (5, 2, pixels)
    assert model.decoder.log_prob(torch.zeros(2, *shape), torch.zeros(5, 2, 3)).shape == (5, 2)


def test_convolutions_see_each_pixel_at_its_place():
    """Channels are last in the data, and a pixel changes only the outputs near it."""
    spec = DataSpec((16, 12, 3), "bernoulli", (4,), CONV)
    model = build(VAE, spec, 2)
    draw(model)
    x = torch.zeros(2, 16, 12, 3)
    x[1, 5, 7, 2] = 1
    features = model.encoder.trunk(x.flatten(1)).view(2, 4, 8, 6)
    changed = (features[0] != features[1]).any(0).nonzero().tolist()
    assert changed
    assert all(row in (2, 3) and column in (3, 4) for row, column in changed)
    first_layer = model.encoder.trunk.layers[0]
    expected = first_layer.weight[:, 2, 2, 2]  # the centre of the kernel at row 3, column 4 is pixel (6, 8)
    moved = first_layer(x.movedim(-1, 1))
    assert torch.allclose(moved[1, :, 2, 3] - moved[0, :, 2, 3], first_layer.weight[:, 2, 2, 2]), expected


def test_the_decoder_and_its_bias_have_channels_last():
    model = build(VAE, DataSpec((4, 6, 3), "gaussian", (4,), CONV), 2)
    draw(model)
    x = torch.randn(50, 24, 3, generator=torch.Generator().manual_seed(0)) + torch.tensor([1.0, -2.0, 5.0])
    initialise_output(model, x.view(50, 4, 6, 3))
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if "weight" in name:
                parameter.zero_()
        output = model.decoder(torch.zeros(1, 1, 2)).view(24, 3)
    torch.testing.assert_close(output, x.mean((0, 1)).expand(24, 3))


def test_two_hidden_layers_of_200_units_are_the_default_of_mlp_2():
    assert MLP_2.hidden == (200, 200)
    widths = [p.shape[0] for n, p in build(VAE, DataSpec((9,), "gaussian", (20, 10), MLP_2), 3).named_parameters()
              if n.endswith("weight")]  # fmt: skip
    assert widths == [20, 10, 3, 3, 10, 20, 9]


def test_each_activation_is_that_of_its_name():
    x = torch.linspace(-2, 2, 9)
    expected = {
        "relu": x.relu(), "leaky-relu": torch.where(x > 0, x, 0.01 * x), "tanh": x.tanh(),
        "elu": torch.where(x > 0, x, x.exp() - 1), "silu": x * x.sigmoid(), "softplus": x.exp().log1p(),
    }  # fmt: skip
    assert set(expected) == set(ACTIVATIONS)
    for name, values in expected.items():
        torch.testing.assert_close(ACTIVATIONS[name]()(x), values, msg=name)
        layers = build(VAE, DataSpec((9,), "gaussian", (4,), MLP, name), 3)
        assert [type(m) for m in layers.modules() if isinstance(m, type(ACTIVATIONS[name]()))] == [
            type(ACTIVATIONS[name]())
        ] * 2


@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Conv2d(20, 30, 3), nn.ConvTranspose2d(30, 20, 3)], ids=str)
def test_weights_have_the_variance_of_their_scheme(layer):
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    draw(nn.ModuleDict({"a": layer}))
    bounds = 1 / math.sqrt(fan_in)
    assert layer.weight.abs().max() <= bounds
    assert layer.weight.var().item() == pytest.approx(bounds**2 / 3, rel=0.1)
    assert layer.bias.var() > 0
    draw(nn.ModuleDict({"a": layer}), "glorot")
    assert layer.weight.var().item() == pytest.approx(2 / (fan_in + fan_out), rel=0.1)
    assert not layer.bias.any()


def test_layers_without_a_matrix_keep_their_values():
    layers = nn.Sequential(nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.PReLU(), nn.Embedding(3, 5))
    before = [p.clone() for p in layers.parameters()]
    draw(layers)
    same = [torch.equal(a, b) for a, b in zip(before, layers.parameters(), strict=True)]
    assert same == [True] * 5 + [False]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("architecture", [MLP, CONV], ids=lambda a: a.name)
def test_the_initial_output_has_the_mean_of_the_data(likelihood, architecture):
    source = torch.Generator().manual_seed(0)
    support = LIKELIHOODS[likelihood](12).support
    x = torch.rand(50, 12, generator=source) * torch.linspace(0, 1, 12)
    x = (torch.rand(50, 12, generator=source) < x).float() if support == "binary" else x
    model = build(VAE, DataSpec((3, 4), likelihood, (4,), architecture), 2)
    initialise_output(model, x)
    with torch.no_grad():
        for parameter in [p for n, p in model.decoder.network.named_parameters() if "weight" in n]:
            parameter.zero_()
        mean = model.decoder.mean(torch.zeros(1, 1, 2)).flatten()
    expected = x.mean(0) if architecture is MLP else x.mean().expand(12)
    expected = expected if support == "real" else expected.clamp(0.001, 0.999)
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-4)


def test_an_output_without_a_bias_for_each_pixel_is_refused():
    def decoder(spec, latent_dim):
        return nn.Linear(latent_dim, math.prod(spec.shape), bias=False)

    model = build(VAE, DataSpec((3,), "gaussian", (4,), Architecture("mine", MLP.encoder, decoder)), 2)
    with pytest.raises(ValueError, match="has no bias for each pixel or channel"):
        initialise_output(model, torch.zeros(5, 3))


def test_the_bias_of_a_hidden_layer_is_no_output_bias():
    """A hidden width of 4 divides the 12 pixels, as channels of a convolution would."""

    def decoder(spec, latent_dim):
        return nn.Sequential(nn.Linear(latent_dim, 4), nn.ReLU(), nn.Linear(4, 12, bias=False))

    model = build(VAE, DataSpec((12,), "gaussian", (4,), Architecture("mine", MLP.encoder, decoder)), 2)
    with pytest.raises(ValueError, match="has no bias for each pixel or channel"):
        initialise_output(model, torch.zeros(5, 12))


def test_convolutions_need_a_layer():
    with pytest.raises(ValueError, match="need at least one layer"):
        build(VAE, DataSpec((4, 4), "bernoulli", (), CONV), 2)


@pytest.mark.parametrize(
    ("layer", "is_refused"),
    [
        (nn.BatchNorm1d(4), True), (nn.BatchNorm1d(4, track_running_stats=False), True), (nn.Dropout(0.1), True),
        (nn.AlphaDropout(), True), (nn.MultiheadAttention(4, 2, dropout=0.1), True),
        (nn.GRU(4, 4, 2, dropout=0.2), True),
        (nn.InstanceNorm1d(4, track_running_stats=True), True), (nn.LayerNorm(4), False), (nn.GroupNorm(2, 4), False),
        (nn.MultiheadAttention(4, 2), False), (nn.GRU(4, 4), False), (nn.PReLU(), False), (nn.Dropout(0.0), False),
        (with_buffer(), False), (nn.InstanceNorm1d(4), False),
    ],
    ids=str,
)  # fmt: skip
def test_layers_with_state_or_randomness_are_found(layer, is_refused):
    module = nn.Sequential(nn.Linear(4, 4), layer)
    assert find_state(module) == (f"1 ({type(layer).__name__})" if is_refused else "")
