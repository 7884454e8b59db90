"""The setup of a training, its state, and snapshots from which training continues with the same bits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.atomic_files import SCHEMA_VERSION, SNAPSHOT_SUFFIX, WORD_PATTERN, Record
from benchmarks.common.environment import hash_source, read_processor
from benchmarks.common.errors import UserError
from benchmarks.planning import model_specs, planner
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.data.tensors import Dataset, count_levels, load_dataset
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.schedules import parse_optimizer
from benchmarks.runs import cell_files
from benchmarks.training.baseline_fitting import draw_initial_average
from benchmarks.training.step import Optimizer, initial_optimizer
from vaezoo import DataSpec, Model, Variant, build, initialise, initialise_output
from vaezoo.distributions.likelihoods import SUPPORTS, likelihood_name

PROGRESS = ("epoch", "seconds", "rates")  # of the state; a snapshot contains them as JSON


@dataclass(frozen=True)
class Setup:
    """What training starts from: a model with initial weights, its data and the protocol.

    compiled_step: path of the compiled training step; empty if the step runs uncompiled.
    """

    variant: Variant
    model: Model
    spec: DataSpec
    data: Dataset
    protocol: Protocol
    seed: int
    compiled_step: str = ""


def setup_training(
    variant: Variant, spec: DataSpec, protocol: Protocol, data_folder: str, seed: int, compiled_step: str = ""
) -> Setup:
    """Load the data, and build the variant's model with the initial weights of this seed."""
    data = load_dataset(data_folder, protocol)
    with torch.random.fork_rng(devices=[]):  # parameters that `initialise` does not draw keep what the layer draws
        torch.manual_seed(make_generator(seed, "init").initial_seed())
        model = build(variant, spec, protocol.latent_dim)
    model_specs.check_state(f"the variant {variant.name}", model)
    check_support(model, data.test)
    initialise(model, lambda name: make_generator(seed, f"init/{name}"), protocol.initialisation)
    if protocol.output_bias == "data":
        levels = count_levels(protocol)
        initialise_output(model, data.train + 0.5 / levels if levels else data.train)  # with the mean of the noise
    return Setup(variant, model.to(protocol.device), spec, data, protocol, seed, compiled_step)


def check_support(model: Model, x: Tensor) -> None:
    """Raise `UserError` if a pixel of x is outside the support of the model's likelihood."""
    name, support = likelihood_name(model.decoder.likelihood), model.decoder.likelihood.support
    if support not in SUPPORTS:
        raise UserError(f"the likelihood {name} has the support {support!r}; use one of {', '.join(SUPPORTS)}")
    outside = x[~SUPPORTS[support](x)]
    if len(outside):
        raise UserError(
            f"the likelihood {name} has the support {support}, but the data have a pixel of {outside[0].item():.3g}; "
            "train the variant on other data, or give it another likelihood"
        )


def describe_model(model: Model) -> Record:
    """Return the columns of results.csv that the model decides; raise `UserError` if a name can't be printed."""
    likelihood = model.decoder.likelihood
    columns = {
        "likelihood": likelihood_name(likelihood),
        "support": likelihood.support,
        "posterior": model.encoder.family.name,
        "prior": model.prior.name,
    }
    for column, name in columns.items():
        if not name or not WORD_PATTERN.fullmatch(name):
            raise UserError(f"{name[:60]!r} can't be the name of a {column}; leave out $ and control characters")
    return columns


def setup_case(case: Case) -> Setup:
    variant = planner.find_registered(case).variant
    return setup_training(variant, model_specs.read_spec(case), case.protocol, case.data_folder, case.seed, case.step)


@dataclass
class TrainingState:
    """All values that training changes; from a copy, training continues with the same bits.

    average: the baseline's moving average. generators: for the order of examples, the pixels and the noise. seconds:
    time in training steps. rates: examples per second of each epoch, by elapsed time and by processor time.
    """

    model: Model
    optimizer: Optimizer
    average: Tensor
    generators: dict[str, torch.Generator]
    epoch: int = 0
    seconds: float = 0.0
    rates: list[tuple[float, float]] = field(default_factory=list)


def initial_state(setup: Setup) -> TrainingState:
    source = make_generator(setup.seed, "start-baseline")
    average = draw_initial_average(setup.variant, setup.model, setup.data.train, setup.protocol, source)
    settings = parse_optimizer(setup.protocol.optimizer)
    optimizer = initial_optimizer(setup.model.parameters(), setup.protocol.learning_rate, settings)
    generators = {purpose: make_generator(setup.seed, purpose) for purpose in ("batches", "binarize", "noise")}
    return TrainingState(setup.model, optimizer, average, generators)


def snapshot_path(folder: Path, case: Case) -> Path:
    return folder / "cells" / f"{case.cell_id}{SNAPSHOT_SUFFIX}"


def save_snapshot(path: Path, case: Case, state: TrainingState, rows: list[Record], earlier_seconds: float) -> None:
    """Save the state and the rows so far. earlier_seconds: processor time of earlier processes of the cell."""
    metadata = _origin(case) | {name: getattr(state, name) for name in PROGRESS}
    metadata |= {"rows": rows, "processor_seconds": earlier_seconds + time.process_time()}
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in _tensors(state).items()}
    arrays |= {f"generator/{name}": source.get_state().numpy() for name, source in state.generators.items()}
    cell_files.write_snapshot(path, metadata, arrays)


def restore_snapshot(path: Path, case: Case, state: TrainingState) -> tuple[list[Record], float]:
    """Set the state to that of a snapshot; return the snapshot's rows and the processor time so far, seconds.

    The state does not change if the snapshot is missing or damaged, or is of another case, code or machine.
    """
    try:
        loaded = cell_files.read_snapshot(path)
        if loaded is None:
            return [], 0.0
        metadata, values = loaded
        arrays = {name: torch.from_numpy(value) for name, value in values.items()}
        origin = {key: metadata[key] for key in _origin(case)}
        progress = {key: metadata[key] for key in PROGRESS}
        rows, seconds = metadata["rows"], metadata["processor_seconds"]
        shapes_match = all(arrays[name].shape == tensor.shape for name, tensor in _tensors(state).items())
        generators = {name: torch.Generator().set_state(arrays[f"generator/{name}"]) for name in state.generators}
    except Exception as error:  # a damaged archive raises many types
        print(f"the snapshot {path} is damaged ({type(error).__name__}: {error}); the cell starts from epoch 0")
        return [], 0.0
    if origin != _origin(case) or not shapes_match:
        print(f"the snapshot {path} is of other code, other settings or another machine; the cell starts from epoch 0")
        return [], 0.0
    with torch.no_grad():
        for name, tensor in _tensors(state).items():
            tensor.copy_(arrays[name])
    state.generators = generators
    for name, value in progress.items():
        setattr(state, name, value)
    return rows, seconds


def _origin(case: Case) -> Record:
    """Return all that must be equal to continue with the same bits."""
    return {
        "schema_version": SCHEMA_VERSION,
        "cell_id": case.cell_id,
        "commit": case.commit,
        "torch": torch.__version__,
        "code": hash_source(),
        "processor": [read_processor()["model name"], torch.backends.cpu.get_cpu_capability()],
        "gpu": torch.cuda.get_device_name() if case.protocol.device == "cuda" else "",
        "step": Path(case.step).name,
    }


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    """Return all tensors that a step changes in place."""
    tensors = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    tensors |= {f"mean/{i}": tensor for i, tensor in enumerate(state.optimizer.means)}
    tensors |= {f"square/{i}": tensor for i, tensor in enumerate(state.optimizer.squares)}
    return tensors | {"count": state.optimizer.count, "average": state.average}
