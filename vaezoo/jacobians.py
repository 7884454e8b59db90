"""The encoder seen from its output: all randomness of an estimate enters behind it, so one Jacobian serves all draws.

With J_b the Jacobian of example b's posterior parameters (S numbers, in the order of the posterior's fields) in a
layer's parameters, a draw's gradient there is J_b' d_br, where d_br is the gradient in those S numbers. For a linear
layer it is the outer product of d_br' H_b, H_b being the Jacobian at the layer's output, and the layer's input.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from vaezoo.deviations import recorded
from vaezoo.posteriors import Posterior


@dataclass(frozen=True)
class Layer:
    """J_b of a linear layer with its bias, for B examples, in two factors; any parameter has the input 1.

    output: H_b, the Jacobian of the posterior's parameters at the layer's output. inputs: with a 1 for the bias.
    """

    output: Float[Tensor, "B S O"]
    inputs: Float[Tensor, "B I"]

    def gram(self, rows: slice) -> Float[Tensor, "b S S"]:
        """J_b J_b', float64: what squared norms of single examples' gradients need."""
        output = self.output[rows]
        return (output @ output.mT).double() * self.inputs[rows].double().square().sum(-1)[:, None, None]

    def gradient(self, delta: Float[Tensor, "B S"]) -> Float[Tensor, "O I"]:
        """(1/B) sum_b J_b' d_b: the minibatch's gradient."""
        return self._at_output(delta).mT @ self.inputs / len(delta)

    def along(self, delta: Float[Tensor, "*N B S"], direction: Float[Tensor, "O I"]) -> Float[Tensor, "*N B"]:
        """Inner products of single examples' gradients with a direction."""
        return (self._at_output(delta) * (self.inputs @ direction.mT)).double().sum(-1)

    def products(self, delta: Float[Tensor, "N B S"], direction: Float[Tensor, "O I"]) -> Float[Tensor, " N"]:
        """Inner products of N minibatch gradients with a direction."""
        return self.along(delta, direction).mean(-1)

    def squares(self, delta: Float[Tensor, "N B S"]) -> Float[Tensor, " N"]:
        """Squared norms of N minibatch gradients: of sums of outer products, by the inner products of their factors."""
        rows = self._at_output(delta)
        inner = (rows @ rows.mT).double() * (self.inputs @ self.inputs.mT).double()
        return inner.sum((-1, -2)) / len(self.inputs) ** 2

    def _at_output(self, delta: Float[Tensor, "*N B S"]) -> Float[Tensor, "*N B O"]:
        rows = delta.to(self.output.dtype).reshape(-1, *delta.shape[-2:]).transpose(0, 1)
        return (rows @ self.output).transpose(0, 1).reshape(*delta.shape[:-1], -1)


def fields(q: Posterior) -> dict[str, Tensor]:
    """The posterior's parameters by name, [B, ...]; a `TypeError` where it is no dataclass of tensors."""
    found = {field.name: getattr(q, field.name) for field in dataclasses.fields(q)}  # type: ignore[arg-type]
    if not all(isinstance(value, Tensor) for value in found.values()):
        raise TypeError(f"{type(q).__name__} has parameters that are no tensors")
    return found


def flat(q: Posterior) -> Float[Tensor, "B S"]:
    """All parameters of each example's posterior, side by side."""
    return torch.cat([value.flatten(1) for value in fields(q).values()], 1)


def slices_of(q: Posterior) -> dict[str, slice]:
    """Where each of the posterior's parameters lies in `flat`."""
    sizes = {name: value[0].numel() for name, value in fields(q).items()}
    ends = itertools.accumulate(sizes.values())
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def layers_of(encoder: nn.Module, x: Float[Tensor, "B ..."]) -> dict[str, Layer]:
    """The encoder's linear layers, and any other parameters, by name."""
    linear = {name: module for name, module in encoder.named_modules() if type(module) is nn.Linear}
    owned = {f"{name}.{own}" for name, layer in linear.items() for own, _ in layer.named_parameters()}
    others = {name: value.detach() for name, value in encoder.named_parameters() if name not in owned}
    with recorded(linear) as record:
        output = flat(encoder(x))
    outputs = [output for _, output in record.values()]
    # An entry at a time and no grad_outputs: given any, torch imports sympy to compare their shapes, 0.3 s a process.
    by_entry = [torch.autograd.grad(entry.sum(), outputs, retain_graph=True, allow_unused=True) for entry in output.mT]
    jacobians = zip(*by_entry, strict=True)
    found = {}
    for (name, (inputs, at)), jacobian in zip(record.items(), jacobians, strict=True):
        bias = [] if linear[name].bias is None else [inputs.new_ones(len(inputs), 1)]
        rows = [torch.zeros_like(at) if row is None else row for row in jacobian]
        found[name] = Layer(torch.stack(rows, 1), torch.cat([inputs, *bias], -1))
    return found | (_general(encoder, others, x) if others else {})


def _general(encoder: nn.Module, chosen: dict[str, Tensor], x: Float[Tensor, "B ..."]) -> dict[str, Layer]:
    """The same for any parameters, by `torch.func`, an example at a time."""

    def one(chosen: dict[str, Tensor], x: Tensor) -> Tensor:
        return flat(functional_call(encoder, chosen, (x[None],)))[0]

    jacobians = vmap(jacrev(one), (None, 0), chunk_size=1)(chosen, x)
    return {name: Layer(jacobian.flatten(2), x.new_ones(len(x), 1)) for name, jacobian in jacobians.items()}
