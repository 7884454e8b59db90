"""Initial values of parameters: the same for equal names and seeds, whatever else a model owns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.models.model import Decoder, Model

Initialisation = Literal["uniform", "glorot"]
SMALLEST_MEAN = 1e-3  # of a pixel; a pixel that is always 0 would need an infinite output
LARGEST_OUTPUT = 2000.0  # gives this mean under each likelihood
STEPS = 60  # of a bisection


@torch.no_grad()
def initialise(
    module: nn.Module, generator: Callable[[str], torch.Generator], scheme: Initialisation = "uniform"
) -> None:
    """Draw the weights and biases of linear layers and convolutions.

    "uniform": U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for both, the default of torch. "glorot": weights from U(-a, a) with
    a = sqrt(6 / (fan_in + fan_out)), and biases 0 (Glorot and Bengio 2010). Parameters that two models share by name
    start equal if the generators do. Norm layers, and modules without a matrix `weight`, keep their values.

    Args:
        module: the model, changed in place.
        generator: name of a parameter -> the generator from which it is drawn.
        scheme: "uniform" or "glorot".
    """
    for path, layer in module.named_modules():
        parameters = dict(layer.named_parameters(recurse=False))
        weight = parameters.get("weight")
        if weight is None or weight.ndim < 2:
            continue
        fan_in = weight[0].numel()
        bound = fan_in**-0.5
        if scheme == "glorot":
            bound = (6 / (fan_in + weight.numel() // weight.shape[1])) ** 0.5
        for name, parameter in parameters.items():
            draw = torch.rand(parameter.shape, generator=generator(f"{path}.{name}"), dtype=parameter.dtype)
            is_zero = scheme == "glorot" and parameter.ndim < 2
            parameter.copy_(torch.zeros_like(parameter) if is_zero else (2 * draw - 1) * bound)


@torch.no_grad()
def initialise_output(model: Model, x: Float[Tensor, "N ..."]) -> None:
    """Set the bias of the decoder's last layer so that, without its weights, E[x|z] is the mean of the data.

    For a Bernoulli likelihood the bias is the logit of the mean, which is limited to [0.001, 0.999] (Burda et al. 2016,
    arXiv:1509.00519, code). A last layer with a bias for each channel gets the mean of the channel.

    Args:
        model: the model, changed in place.
        x: training data.

    Raises:
        ValueError: the decoder has no bias for each pixel or channel.
    """
    mean = x.flatten(1).mean(0)
    bias = _find_output_bias(model.decoder, len(mean))
    target = mean.view(-1, len(bias)).mean(0)
    if model.decoder.likelihood.support == "real":
        bias.copy_(target)
        return
    target = target.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN)
    low, high = torch.full_like(target, -LARGEST_OUTPUT), torch.full_like(target, LARGEST_OUTPUT)
    for _ in range(STEPS):  # E[x|z] rises with the output
        middle = (low + high) / 2
        is_low = model.decoder.likelihood.mean(middle[None, None])[0, 0] < target
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    bias.copy_((low + high) / 2)


def _find_output_bias(decoder: Decoder, pixels: int) -> nn.Parameter:
    layers = [layer for layer in decoder.network.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]
    bias = getattr(layers[-1], "bias", None) if layers else None
    is_convolution = bool(layers) and layers[-1].weight.ndim > 2  # type: ignore[operator]
    if not isinstance(bias, nn.Parameter) or (pixels % len(bias) if is_convolution else pixels != len(bias)):
        raise ValueError("the last layer of the decoder has no bias for each pixel or channel; draw it instead")
    return bias


def find_state(module: nn.Module) -> str:
    """Return the path and type of a layer with state or randomness of its own, as batch normalization and dropout.

    Such a layer couples examples, or draws numbers that are not in the noise. The text is empty without such a layer.
    Constant buffers are no such state.
    """
    for path, layer in module.named_modules():
        rate = layer.p if isinstance(layer, nn.modules.dropout._DropoutNd) else getattr(layer, "dropout", 0.0)
        is_random = isinstance(rate, float) and rate > 0
        is_batch_norm = isinstance(layer, nn.modules.batchnorm._NormBase) and (
            isinstance(layer, nn.modules.batchnorm._BatchNorm) or layer.track_running_stats
        )
        if is_random or is_batch_norm:
            return f"{path} ({type(layer).__name__})"
    return ""
