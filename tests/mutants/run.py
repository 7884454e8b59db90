"""Plant each mutant of the lists in this folder in a copy of the code, and report those that no test notices.

    python tests/mutants/run.py [--only TEXT] [--shuffle SEED] [--first N] [--workers N]

A mutant is a small mistake. The tests that it names run first. If they pass, all tests of the mirrored folder run:
tests/FOLDER for a module in FOLDER, or the nearest folder above that exists. A mutant that passes both survives.

Exit code 1 if more than 3 % of the mutants survive. It is also 1 if a test fails without a mutant, or notices one that
is declared equivalent.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("vaezoo", "benchmarks")
MAX_SURVIVING = 0.03  # of the mutants that are not equivalent
LIMIT_SECONDS, LIMIT_FACTOR = 60, 3  # time limit of a mutant's tests: seconds, plus a multiple of that of all tests
NO_TESTS = 5  # pytest's exit code if it collects nothing


@dataclass(frozen=True)
class Mutant:
    """A mistake: `new` instead of `old`, which occurs once in `file`.

    tests: paths for pytest, of tests that must notice it. what: the mistake in words. equivalent: why no test can
    notice it; empty for the others.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    what: str
    equivalent: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def read_mutants(folder: Path) -> list[Mutant]:
    """Return the mutants of all lists in the folder."""
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]
    return [Mutant(**fields | {"tests": tuple(fields["tests"])}) for table in tables for fields in table["mutant"]]


def select_mutants(mutants: Sequence[Mutant], text: str, seed: int | None, count: int | None) -> list[Mutant]:
    """Return those whose file or description contains the text, shuffled if there is a seed, and the first of them."""
    chosen = [mutant for mutant in mutants if text in str(mutant)]
    if seed is not None:
        random.Random(seed).shuffle(chosen)
    return chosen[:count]


def plant(source: str, mutant: Mutant) -> str:
    """Return the source with the mistake; raise `ValueError` unless `old` occurs exactly once."""
    if (count := source.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.file} contains {mutant.old!r} {count} times, but must contain it once; update old")
    return source.replace(mutant.old, mutant.new)


def mirrored_folder(file: str) -> str:
    """Return the folder of the tests of a module; the nearest one above if its own folder has no tests."""
    folders = (Path("tests", parent) for parent in Path(file).parents)
    return next(str(folder) for folder in folders if (ROOT / folder).is_dir())


def exceeds_limit(survivors: int, count: int) -> bool:
    """Return whether too many of `count` mutants survive."""
    return survivors > MAX_SURVIVING * count


class CodeCopy:
    """A copy of the files that git tracks, in which mistakes are planted and tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(folder)}
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():  # a deleted file may still be listed
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        program = f"from importlib.util import find_spec; print(*(find_spec(p).origin for p in {PACKAGES}))"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(folder / p / "__init__.py") for p in PACKAGES], done.stdout

    def run_tests(self, tests: Sequence[str], limit: float | None = None, *options: str) -> tuple[int, str]:
        """Run tests; return pytest's exit code and output. A run that exceeds the limit is killed: a negative code."""
        command = [sys.executable, "-m", "pytest", "-q", *options, *tests]
        with tempfile.TemporaryFile("w+") as output:
            streams = {"stdout": output, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, start_new_session=True, **streams
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(limit)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output.seek(0)
            return process.wait(), output.read()

    def is_noticed(self, mutant: Mutant, tests: Sequence[str], limit: float) -> bool:
        """Return whether one of the tests fails, or exceeds the time limit, with the mistake in place."""
        path = self.folder / mutant.file
        original = path.read_text(encoding="utf-8")
        try:
            self._write(path, plant(original, mutant))
            code, output = self.run_tests(tests, limit, "-x")
        finally:
            self._write(path, original)
        if code == NO_TESTS:
            raise SystemExit(f"{mutant}: pytest finds no test in {' '.join(tests)}; correct tests\n{output}")
        return code != 0

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # Python compares times in seconds only


def find_survivors(
    pool: ThreadPoolExecutor,
    copies: SimpleQueue[CodeCopy],
    mutants: Sequence[Mutant],
    choose_tests: Callable[[Mutant], Sequence[str]],
) -> Iterator[Mutant]:
    """Yield the mutants that pass their tests, as soon as that is known; end the program if a test fails anyway."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in choose_tests(mutant)))
    if not tests:
        return
    copy, start = copies.get(), time.monotonic()
    code, output = copy.run_tests(tests)
    copies.put(copy)
    if code:
        raise SystemExit(f"{output}\nthese tests fail without a mutant, so they notice nothing; correct them first")
    limit = LIMIT_SECONDS + LIMIT_FACTOR * (time.monotonic() - start)

    def judge(mutant: Mutant) -> bool:
        copy = copies.get()
        try:
            return copy.is_noticed(mutant, choose_tests(mutant), limit)
        finally:
            copies.put(copy)

    for mutant, noticed in zip(mutants, pool.map(judge, mutants), strict=True):
        if not noticed:
            yield mutant


def report(mutants: Sequence[Mutant], unnamed: Sequence[Mutant], survivors: Sequence[Mutant], seconds: float) -> str:
    """Return the figures of a run, the survivors, and the equivalent mutants with their reasons.

    unnamed: mutants that other tests noticed than those that they name.
    """
    equivalents = [mutant for mutant in mutants if mutant.equivalent]
    count = len(mutants) - len(equivalents)
    lines = [f"noticed by no named test, but by another: {mutant}" for mutant in unnamed]
    lines += [f"equivalent: {mutant} Reason: {mutant.equivalent}" for mutant in equivalents]
    lines += [f"survived: {mutant}" for mutant in survivors]
    lines += [
        f"{len(mutants)} mutants in {seconds / 60:.0f} min: {count - len(survivors)} noticed, {len(survivors)} "
        f"survived, {len(equivalents)} equivalent"
    ]
    return "\n".join(lines)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="TEXT", default="", help="only mutants whose file or description contains it")
    parser.add_argument("--shuffle", metavar="SEED", type=int, help="shuffle the mutants with this seed")
    parser.add_argument("--first", metavar="N", type=int, help="only the first N of them")
    parser.add_argument("--workers", metavar="N", type=int, default=os.cpu_count(), help="default: the number of cores")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants and return the exit code."""
    options, start = parse_arguments(arguments), time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C, no test is left running
    mutants = select_mutants(read_mutants(Path(__file__).parent), options.only, options.shuffle, options.first)
    unnoticed, survivors = [], []
    copies: SimpleQueue[CodeCopy] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="vaezoo-mutants-") as folder, ThreadPoolExecutor(options.workers) as pool:
        for i in range(options.workers):
            copies.put(CodeCopy(Path(folder).resolve() / str(i)))
        for mutant in find_survivors(pool, copies, mutants, lambda mutant: mutant.tests):
            unnoticed.append(mutant)
            if not mutant.equivalent:
                print(f"not noticed by its tests: {mutant}", flush=True)
        others = [mutant for mutant in unnoticed if not mutant.equivalent]
        for mutant in find_survivors(pool, copies, others, lambda mutant: [mirrored_folder(mutant.file)]):
            survivors.append(mutant)
            print(f"survived: {mutant}", flush=True)
    unnamed = [mutant for mutant in others if mutant not in survivors]
    wrong = [mutant for mutant in mutants if mutant.equivalent and mutant not in unnoticed]
    print(report(mutants, unnamed, survivors, time.monotonic() - start))
    for mutant in wrong:
        print(f"declared equivalent, but a test notices it: {mutant}")
    count = sum(not mutant.equivalent for mutant in mutants)
    return int(exceeds_limit(len(survivors), count) or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
