"""The same measurement without any assumption: a backward pass through the whole model for each estimate.

For what `measurement` can't take apart: examples that couple, estimates that ask the decoder twice, encoders that share
parameters with the decoder.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.chunks import chunk_of, linear_layers
from vaezoo.deviations import ROUNDING
from vaezoo.gradients import PARTS, Moments, normalise
from vaezoo.jacobians import layers_of
from vaezoo.measurement import COSINES, Figure, Measured, Noise, z_score
from vaezoo.models import Model
from vaezoo.replay import NotReplayedError, Subject
from vaezoo.variants import estimate

AGREEMENT = 1e-3
PROBES, PROBED = 3, 4  # estimates and examples by which the fast route is held to the plain one
Gradient = dict[str, Tensor]


def gradient(model: Model, subject: Subject, x: Tensor, noise: Float[Tensor, "K B D"]) -> Gradient:
    """Of the minibatch's mean estimate, by parameter of the encoder and of the decoder."""
    own = subject.on(model)
    named = {name: p for name, p in own.named_parameters() if name.startswith(PARTS)}
    value = estimate(subject.variant, own, x, noise, subject.average).mean()
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(named, found, strict=True))


def taken_apart(model: Model, subject: Subject, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]) -> bool:
    """Whether `measurement` gets a subject's gradients right.

    An example's gradient has to be the same alone and among others, and their sum the true one, by its norm.
    """
    linear = linear_layers(model.decoder)
    if {id(p) for p in model.encoder.parameters()} & {id(p) for p in model.decoder.parameters()}:
        return False
    try:
        chunk = chunk_of(model, {"it": subject}, x, noise, linear)
        layers = layers_of(model.encoder, x)
        alone = [chunk_of(model, {"it": subject}, x[[i]], noise[:, :, [i]], linear) for i in range(len(x))]
    except (NotReplayedError, TypeError, RuntimeError):
        return False
    for whole, single, axis in (
        (chunk.posterior["it"], [c.posterior["it"] for c in alone], 1),
        (chunk.decoder["it"], [c.decoder["it"] for c in alone], 2),
    ):
        if not torch.allclose(
            whole, torch.cat(single, axis), rtol=AGREEMENT, atol=AGREEMENT * float(whole.abs().mean())
        ):
            return False
    found = torch.stack([layer.squares(chunk.posterior["it"]) for layer in layers.values()]).sum(0)
    for inputs, slope in chunk.layers.values():
        a = torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], -1).transpose(0, 1).flatten(1, 2)
        d = (chunk.decoder["it"][..., None] * slope).transpose(0, 1).flatten(1, 2)
        found = found + ((a @ a.mT).double() * (d @ d.mT)).sum((1, 2)) / len(x) ** 2
    known = {"encoder."} | {f"decoder.{name}." for name in linear}
    exact = []
    for repeat in noise:
        true = gradient(model, subject, x, repeat)
        exact.append(_norm([g for name, g in true.items() if name.startswith(tuple(known))]) ** 2)
    return torch.allclose(found, torch.tensor(exact, dtype=found.dtype, device=found.device), rtol=AGREEMENT)


def measure_plainly(model: Model, subject: Subject, reference: Subject, x: Tensor, noise: Noise) -> Measured:
    """As `measure`, of one subject; the repeats' sums are squared deviations of whole minibatch gradients.

    Two passes over the repeats: first the means, then the deviations from them. The reference is the pathwise estimate
    of the same objective.
    """
    draws = noise(slice(None))
    halves = [index.tolist() for index in torch.arange(len(draws)).tensor_split(2)]
    ours, exact = ([_mean(model, s, x, draws[own]) for own in halves] for s in (subject, reference))
    weights = [len(own) / len(draws) for own in halves]
    mean = {n: weights[0] * first + weights[1] * ours[1][n] for n, first in ours[0].items()}
    towards = [{n: other[n] - true[n] for n in other} for other, true in zip(ours[::-1], exact[::-1], strict=True)]
    deviations: dict[str, list[Tensor]] = {name: [] for name in mean}
    projections: list[float] = []
    cosines: list[float] = []
    for half, own in enumerate(halves):
        for r in own:
            g, true = gradient(model, subject, x, draws[r]), gradient(model, reference, x, draws[r])
            for name, value in g.items():
                deviations[name].append((value - mean[name]).double().square().sum())
            projections.append(sum(_encoder_product({n: g[n] - true[n] for n in g}, towards[half])))
            if half == 0 and len(cosines) < COSINES:
                lengths = [_norm([v for n, v in h.items() if n.startswith("encoder.")]) for h in (g, exact[1])]
                cosines.append(sum(_encoder_product(g, exact[1])) / lengths[0] / lengths[1])
    moments = {}
    still = {name: ROUNDING**2 * value.double().square().sum() for name, value in mean.items()}
    rows = {n: torch.stack(d) for n, d in deviations.items()}
    rows = {n: torch.where(d > still[n], d, 0.0) for n, d in rows.items()}
    layers = {name: (name.split(".")[0], name.partition(".")[2].rpartition(".")[0]) for name in mean}
    for key in {*layers.values(), *((part.rstrip("."), "") for part in PARTS)}:
        own = [name for name, layer in layers.items() if layer == key or (key[1] == "" and layer[0] == key[0])]
        moments[key] = _normalised([rows[n] for n in own], [mean[n] for n in own])
    values = torch.tensor(cosines, dtype=torch.float64)
    cosine = Figure(values.mean().item(), (values.std() / len(values) ** 0.5).item()) if len(values) > 1 else None
    return Measured(moments, z_score(torch.tensor(projections, dtype=torch.float64)), cosine)


def _normalised(rows: list[Tensor], means: list[Tensor]) -> Moments:
    """The whole minibatch stands for one example."""
    return normalise(torch.stack(rows).sum(0), torch.cat([mean.flatten().double() for mean in means]), examples=1)


def _mean(model: Model, subject: Subject, x: Tensor, draws: Float[Tensor, "R K B D"]) -> Gradient:
    total: Gradient = {}
    for repeat in draws:
        for name, value in gradient(model, subject, x, repeat).items():
            total[name] = total.get(name, 0.0) + value.double() / len(draws)
    return total


def _encoder_product(one: Gradient, other: Gradient) -> list[float]:
    return [float((one[n].double() * other[n]).sum()) for n in one if n.startswith("encoder.")]


def _norm(values: list[Tensor]) -> float:
    return float(torch.cat([value.flatten().double() for value in values]).norm())
