"""Resolving settings to a protocol, with the defaults of the data set."""

from __future__ import annotations

import dataclasses

import torch

from benchmarks.common.errors import UserError, unknown
from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.info import DatasetInfo
from benchmarks.planning.settings import Settings
from vaezoo.distributions.likelihoods import LIKELIHOODS

VALUES = {"binary": "binary pixels", "unit": "grey pixels", "real": "real numbers"}


def resolve_protocol(settings: Settings, info: DatasetInfo) -> Protocol:
    """Return the protocol of these settings, with defaults of the data set; raise `UserError` if they contradict."""
    likelihood = info.likelihood if settings.likelihood is None else settings.likelihood
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    support = LIKELIHOODS[likelihood](1).support
    is_grey, is_real = info.values == "unit", info.values == "real"
    default = "dynamic" if support == "binary" and is_grey else "none"
    binarization = default if settings.binarization is None else settings.binarization
    preprocessing = settings.preprocessing or info.preprocessing
    is_binarized, is_standardised = binarization != "none", preprocessing == "standardised"
    is_dequantised, has_levels = preprocessing == "dequantised", is_grey and info.maximum > 1
    method, purpose = f"binarization {binarization}", f"the likelihood {likelihood} is for"
    has_values, is_not_binary = (
        f"{info.name} {text}" for text in (f"has {VALUES[info.values]}", "without binarization is not binary")
    )
    for_grey = "--binarization dynamic, or --likelihood continuous-bernoulli or" if is_grey else "--likelihood"
    refusals = (  # whether it applies, what is needed, what contradicts it, and what to use instead
        (is_binarized and not is_grey, f"{method} needs pixels in [0, 1]", has_values, "--binarization none"),
        (
            is_standardised and not is_real,
            "--preprocessing standardised needs real numbers",
            has_values,
            "--preprocessing none",
        ),
        (
            is_dequantised and not has_levels,
            "--preprocessing dequantised needs whole numbers, such as 0 to 255",
            f"{info.name} has numbers from 0 to 1" if is_grey else has_values,
            "--preprocessing none",
        ),
        (
            is_dequantised and support == "binary",
            "--preprocessing dequantised is for densities of grey pixels",
            f"the likelihood {likelihood} is for binary data",
            "--likelihood continuous-bernoulli or gaussian",
        ),
        (
            is_dequantised and is_binarized,
            "--preprocessing dequantised is for grey pixels",
            f"{method} makes them binary",
            "--binarization none",
        ),
        (
            support == "binary" and not is_binarized and info.values != "binary",
            f"{purpose} binary data",
            is_not_binary,
            f"{for_grey} gaussian",
        ),
        (
            support == "unit" and is_binarized,
            f"{purpose} grey pixels",
            f"{method} makes them binary",
            "--binarization none, or --likelihood bernoulli",
        ),
        (support == "unit" and is_real, f"{purpose} data in [0, 1]", has_values, "--likelihood gaussian"),
    )
    for applies, need, contradiction, remedy in refusals:
        if applies:
            raise UserError(f"{need}, but {contradiction}; use {remedy}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    resolved = {
        "dataset": info.name,
        "preprocessing": f"dequantised({info.maximum + 1:.0f})" if is_dequantised else preprocessing,
        "binarization": binarization,
        "likelihood": likelihood,
        "latent_dim": settings.latent_dim or info.latent_dim,
        "checkpoints": list_checkpoints(settings),
    }
    return Protocol(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Protocol)} | resolved)


def list_checkpoints(settings: Settings) -> tuple[int, ...]:
    """Return the epochs at which models are measured; the last epoch is one of them."""
    return tuple(sorted({c for c in settings.checkpoints if c < settings.epochs} | {settings.epochs}))
