"""Jacobians of the encoder. The output of the encoder does not depend on the noise, so all draws share the Jacobian.

The approximate posterior of example b has S parameters. Let J_b be their Jacobian in the parameters of a layer, and
d_br [S] the gradient of repeat r in them. Then the gradient in the layer is J_b' d_br. For a linear layer it is the
outer product of d_br' H_b and the layer's input, where H_b is the Jacobian in the layer's output.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from vaezoo.distributions.posteriors import Posterior
from vaezoo.gradients.spread import OuterProducts, append_one


@dataclass(frozen=True)
class LayerJacobian:
    """J_b of a linear layer and its bias for B examples, as two factors. Other parameters have the input 1.

    output: H_b, the Jacobian of the posterior's parameters in the layer's output.
    inputs: the layer's inputs, with a 1 appended for the bias.
    """

    output: Float[Tensor, "B S O"]
    inputs: Float[Tensor, "B I"]

    def gram(self, rows: slice) -> Float[Tensor, "b S S"]:
        """Return J_b J_b', float64, from which follow the squared norms of the gradients of single examples."""
        output = self.output[rows]
        return (output @ output.mT).double() * self.inputs[rows].double().square().sum(-1)[:, None, None]

    def gradient(self, delta: Float[Tensor, "B S"]) -> Float[Tensor, "O I"]:
        """Return (1/B) sum_b J_b' d_b, the gradient of the minibatch."""
        return self.products(delta).mean(len(delta))

    def squares(self, delta: Float[Tensor, "N B S"]) -> Float[Tensor, " N"]:
        """Return squared norms of N minibatch gradients, float64."""
        return self.products(delta).squared_norm() / len(self.inputs) ** 2

    def products(self, delta: Float[Tensor, "*N B S"]) -> OuterProducts:
        """Return J_b' d_b, the gradients of single examples."""
        rows = delta.to(self.output.dtype).reshape(-1, *delta.shape[-2:]).transpose(0, 1)
        slopes = (rows @ self.output).transpose(0, 1).reshape(*delta.shape[:-1], -1)
        return OuterProducts(self.inputs, slopes)


def posterior_parameters(q: Posterior) -> dict[str, Tensor]:
    """Return the posterior's parameters by name, [B, ...]; raise `TypeError` if it is not a dataclass of tensors."""
    values = {field.name: getattr(q, field.name) for field in dataclasses.fields(q)}  # type: ignore[arg-type]
    if not all(isinstance(value, Tensor) for value in values.values()):
        raise TypeError(f"{type(q).__name__} has parameters that are not tensors")
    return values


def flatten_posterior(q: Posterior) -> Float[Tensor, "B S"]:
    """Return the S parameters of each example's posterior in one row."""
    return torch.cat([value.flatten(1) for value in posterior_parameters(q).values()], 1)


def parameter_slices(q: Posterior) -> dict[str, slice]:
    """Return the columns of each parameter of the posterior in `flatten_posterior`."""
    sizes = {name: value[0].numel() for name, value in posterior_parameters(q).items()}
    ends = itertools.accumulate(sizes.values())
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def find_linear_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the module's linear layers by name."""
    return {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}


def find_other_parameters(module: nn.Module) -> list[str]:
    """Return the names of the parameters that are not in a linear layer."""
    in_layers = {f"{name}.{part}" for name in find_linear_layers(module) for part in ("weight", "bias")}
    return [name for name, _ in module.named_parameters() if name not in in_layers]


@contextmanager
def record_calls(layers: Mapping[str, nn.Linear]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Record (input, output) of each call of each layer, except calls with weights that carry no gradient."""
    record: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    handles = [layer.register_forward_hook(partial(_remember, record[name])) for name, layer in layers.items()]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _remember(calls: list[tuple[Tensor, Tensor]], layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    if layer.weight.requires_grad:
        calls.append((inputs[0].detach(), output))


def require_single_calls(record: Mapping[str, list[tuple[Tensor, Tensor]]]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (input, output) of each layer; raise `RuntimeError` if a layer ran twice."""
    for name, calls in record.items():
        if len(calls) > 1:
            raise RuntimeError(f"layer {name} is used twice in one estimate, so its gradient is not one outer product")
    return {name: call for name, calls in record.items() for call in calls}


def encoder_jacobians(encoder: nn.Module, x: Float[Tensor, "B ..."]) -> dict[str, LayerJacobian]:
    """Return the Jacobians of the encoder's linear layers and of its other parameters, by name."""
    linear = find_linear_layers(encoder)
    parameters = {name: value.detach() for name, value in encoder.named_parameters()}
    others = {name: parameters[name] for name in find_other_parameters(encoder)}
    fixed = {name: value for name, value in parameters.items() if name not in others}
    with record_calls(linear) as calls:
        flat = flatten_posterior(encoder(x))
    record = require_single_calls(calls)
    outputs = [output for _, output in record.values()]
    # One entry at a time, without grad_outputs: with them torch imports sympy to compare shapes, 0.3 s per process.
    by_layer = [output.new_zeros(len(x), flat.shape[1], output.shape[-1]) for output in outputs]
    for i in range(flat.shape[1]):
        entries = torch.autograd.grad(flat[:, i].sum(), outputs, retain_graph=True, allow_unused=True)
        for rows, entry in zip(by_layer, entries, strict=True):
            if entry is not None:
                rows[:, i] = entry
    jacobians = {
        name: LayerJacobian(rows, inputs if linear[name].bias is None else append_one(inputs))
        for (name, (inputs, _)), rows in zip(record.items(), by_layer, strict=True)
    }

    function = jacrev(partial(_flat_output, encoder, fixed))
    general = vmap(function, (None, 0), chunk_size=1)(others, x) if others else {}
    for name, jacobian in general.items():
        jacobians[name] = LayerJacobian(jacobian.flatten(2), x.new_ones(len(x), 1))
    return jacobians


def _flat_output(encoder: nn.Module, fixed: dict[str, Tensor], chosen: dict[str, Tensor], x: Tensor) -> Tensor:
    return flatten_posterior(functional_call(encoder, {**fixed, **chosen}, (x[None],)))[0]
