"""The command line: options in, one exit code out. Heavy imports wait for the command that needs them."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from benchmarks.errors import UNFINISHED, USAGE, StoppedError, UserError, printable, unknown
from benchmarks.interrupts import GONE, INTERRUPTED
from benchmarks.options import (
    DataRoot,
    Dataset,
    ExecutorName,
    KeepStale,
    Memory,
    Name,
    Out,
    Plugin,
    Preset,
    Run,
    Scheduler,
    Seeds,
    Snapshot,
    Timeout,
    Workers,
)
from benchmarks.regressions import commands

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # no mistake of the user's
LISTS = ("variants", "datasets", "presets", "metrics")

app = typer.Typer(
    name="python -m benchmarks",
    help="Compare variants of the variational autoencoder under one protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (commands.compare, commands.baseline, commands.doctor, commands.history):
    app.command()(command)


def main() -> int:
    """Run the command line; a user's mistake is one line on standard error and exit code 64."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± shows a ?
    try:
        code = app(standalone_mode=False)  # Typer turns Ctrl-C into its exit code
    except SystemExit:  # and a reader that is gone into 1, which would be a verdict
        return GONE
    except UserError as error:
        return _failed(str(error), USAGE)
    except StoppedError as error:
        return _failed(str(error), UNFINISHED)
    except OSError as error:
        text = f"{error.strerror}: {_short(str(error.filename or 'standard output'))}; mend that, and run again"
        return _failed(text, UNFINISHED if error.errno in FULL else USAGE)
    except TyperException as error:
        if not error.format_message():
            return USAGE  # the help has been shown
        return _failed(f"{error.format_message().rstrip('.')}; see 'python -m benchmarks --help'", USAGE)
    if code == INTERRUPTED:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _short(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:200]}..."


def _failed(text: str, code: int) -> int:
    print(f"error: {printable(' '.join(text.split()))}", file=sys.stderr)
    return code


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(metavar="[variants|datasets|presets|metrics]", help="What to list.")
    ] = "variants",
    plugin: Plugin = None,
) -> None:
    """List what there is: variants, datasets, presets or metrics."""
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    from benchmarks import listings

    print(listings.render(what, plugin or []))


@app.command()
def check(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="Which variant; see 'list'.")],
    plugin: Plugin = None,
) -> int:
    """Hold a variant to what it declares: one line a property; exit code 1 where one does not hold."""
    from benchmarks import listings, plugins

    return listings.check(plugins.find(variant, None, plugins.read(plugin or [])).variant)


@app.command()
def run(
    variants: Annotated[
        list[str] | None, typer.Argument(metavar="[VARIANT]...", help="Which variants; see 'list'.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every registered variant.")] = False,
    preset: Preset = "default",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    binarization: Annotated[str | None, typer.Option(help="dynamic, static or none.")] = None,
    likelihood: Annotated[
        str | None, typer.Option(help="bernoulli, continuous-bernoulli, gaussian or gaussian-learned.")
    ] = None,
    seeds: Seeds = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples in a minibatch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Latents.")] = None,
    draws: Annotated[int | None, typer.Option(help="Latent draws an example, in place of every variant's own.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the training step's matrix products: float32 (the default) or bfloat16.")
    ] = None,
    workers: Workers = None,
    out: Out = Path("results"),
    name: Name = None,
    keep_stale: KeepStale = False,
    timeout: Timeout = None,
    memory: Memory = None,
    snapshot: Snapshot = 60.0,
    executor: ExecutorName = "local",
    scheduler: Scheduler = None,
    plugin: Plugin = None,
) -> int:
    """Train, evaluate and compare variants; writes a run folder with tables and figures."""
    given = {
        "dataset": dataset,
        "binarization": binarization,
        "likelihood": likelihood,
        "seeds": seeds,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "latent_dim": latent_dim,
        "draws": draws,
        "device": device,
        "precision": precision,
    }
    from benchmarks import settings

    chosen = settings.load(preset, {key: value for key, value in given.items() if value is not None})
    if all_ == bool(variants):
        raise UserError(
            "name the variants to run, or give --all, not both; 'python -m benchmarks list' shows them"
            if all_
            else "nothing to run: name one or more variants, or give --all; 'python -m benchmarks list' shows them"
        )
    from benchmarks.executors import server

    server.warm_up()
    from benchmarks import folders, report, runner, training
    from benchmarks.executors import apart, choice
    from benchmarks.executors.events import Limits

    folders.check_destination(out, name)
    engine = choice.chosen(executor, scheduler, chosen.device, workers, Limits(timeout, memory))
    plan = apart.call(training.plan, chosen, variants or [], plugin or [], data_root, snapshot)
    folder = folders.choose(out, name, plan)
    return report.conclude(folder, runner.execute(folder, plan, engine, keep_stale, training.KIND))


@app.command()
def gradients(
    study: Annotated[
        list[str] | None,
        typer.Option(help="Which studies; may be repeated. By default all at fixed parameters, and with --run all."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN", help="Runs for learning-rate and budget, one a learning rate. By default they are made."
        ),
    ] = None,
    preset: Preset = "default",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    seeds: Seeds = None,
    repeats: Annotated[int | None, typer.Option(help="Gradient estimates behind each variance.")] = None,
    workers: Workers = None,
    out: Out = Path("results"),
    name: Name = None,
    keep_stale: KeepStale = False,
    plugin: Plugin = None,
) -> int:
    """Measure gradients of all variants at equal parameters, minibatches and noise; writes tables and figures."""
    from benchmarks import settings

    given = {"dataset": dataset, "seeds": seeds}
    chosen = settings.load(preset, {key: value for key, value in given.items() if value is not None}, repeats)
    from benchmarks.executors import server

    server.warm_up()
    from benchmarks.laboratory import command

    return command.run(study or [], run or [], chosen, plugin or [], data_root, workers, out, name, keep_stale)


@app.command()
def profile(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="Which variant; see 'list'.")],
    preset: Preset = "default",
    dataset: Dataset = None,
    data_root: DataRoot = None,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="How many steps are profiled.")] = 200,
    out: Out = Path("results"),
    plugin: Plugin = None,
) -> None:
    """Show where a training step's time goes; writes a Chrome trace."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler complains that there is no GPU
    from benchmarks import planning, profiling, settings

    chosen = settings.load(preset, {} if dataset is None else {"dataset": dataset})
    case, *_ = planning.whole(chosen, [variant], plugin or [], data_root)
    print(profiling.run(case, steps, out / f"profile-{variant}.json"))


@app.command()
def show(
    run: Run = "latest",
    metrics: Annotated[str, typer.Option(help="Metrics to show, separated by commas; see 'list metrics'.")] = "",
    format_: Annotated[str, typer.Option("--format", help="text, markdown, csv or latex.")] = "text",
    epoch: Annotated[int | None, typer.Option(help="The checkpoint to show; by default the last.")] = None,
    out: Out = Path("results"),
) -> None:
    """Print a run's comparison table."""
    from benchmarks import folders, formats, report, store, tables

    chosen = formats.choose([metric.strip() for metric in metrics.split(",") if metric.strip()])
    path = folders.find_results(run, out)
    results = store.read_results(path)
    if epoch is not None and epoch not in set(results["epoch"].dropna()):
        known = ", ".join(f"{e:.0f}" for e in sorted(results["epoch"].dropna().unique()))
        raise UserError(f"--epoch {epoch}: the run has no such checkpoint; it has {known}")
    print(formats.render(tables.summaries(results, epoch), chosen, format_))
    if missing := report.shortfall(path, results):
        print(missing, file=sys.stderr)
    sentence = tables.headline(results)
    if sentence and format_ in ("text", "markdown"):
        print(f"\n{sentence}")


@app.command()
def plot(run: Run = "latest", out: Out = Path("results")) -> None:
    """Draw a run's figures again, or the laboratory's, into the folder figures beside its table."""
    from benchmarks import folders, report, store

    if laboratory := folders.find_laboratory(run, out):
        from benchmarks.laboratory import figures, tables

        for figure in figures.write(tables.read(laboratory), laboratory.parent / "figures"):
            print(figure)
        return
    path = folders.find_results(run, out)
    for figure in report.figures(store.read_results(path), path.parent):
        print(figure)


@app.command()
def rebuild(run: Run = "latest", out: Out = Path("results")) -> int:
    """Make a run's tables anew from its cells; exit code 2 where a planned cell is missing or damaged."""
    from benchmarks import folders, rebuilding

    return rebuilding.rebuild(folders.find(run, out))
