"""Claims: TOML files that say what was published, how it is measured here, and when it counts as reproduced."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.common.atomic_files import NAME_PATTERN
from benchmarks.common.errors import UserError, shorten, unknown
from benchmarks.planning.settings import load_settings

CLAIMS = Path(__file__).parents[1] / "claims"
Value = str | int | float
Text = Annotated[str, Field(min_length=1)]
Kind = Literal["printed", "exact", "order", "remembered"]


class Part(BaseModel):
    """Part of a claim; other keys than its fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClaimedRun(Part):
    """A run of the command `run` or `gradients` that the claim needs.

    settings: keys of a preset that replace those of `preset`. plugin: Python file with more variants, beside the claim.
    """

    name: Text = "main"
    command: Literal["run", "gradients"] = "run"
    variants: tuple[Text, ...] = ()
    studies: tuple[Text, ...] = ()
    preset: Text = "default"
    plugin: str = ""
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed = "variants" if self.command == "run" else "studies"
        if not getattr(self, needed):
            raise ValueError(f"a run of the command {self.command} needs {needed}")
        if not NAME_PATTERN.fullmatch(self.name):
            raise ValueError(
                f"{shorten(repr(self.name), 40)} can't be the name of a run; use letters, digits and . _ + -"
            )
        return self


class Term(Part):
    """One value for each seed, times `factor`: a column of the rows of a run's table where columns have these values.

    run: name of the run; the first by default. Rows of results.csv are those of the last epoch, unless `where` has one.
    """

    column: Text = "value"
    where: dict[str, Value] = {}
    run: str = ""
    factor: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.factor == 0:
            raise ValueError("the factor of a term is 0; remove the term")
        return self


class Check(Part):
    """A quantity that decides: the sum of the terms, divided by the term `divisor` if there is one.

    slope_over: column; the quantity is the slope of the logarithm of the value by the logarithm of this column.
    kind: "printed" in the source, "exact" from a closed form, "order" of methods, or "remembered" and not looked up.
    The value must be within `tolerance` or `standard_errors` of `published`, or its interval above or below a bound.
    """

    quantity: Text
    kind: Kind
    terms: tuple[Term, ...] = Field(min_length=1)
    divisor: Term | None = None
    slope_over: str = ""
    published: float | None = None
    tolerance: Annotated[float, Field(ge=0)] | None = None
    standard_errors: Annotated[float, Field(gt=0)] | None = None
    above: float | None = None
    below: float | None = None
    reason: Text

    @model_validator(mode="after")
    def _check(self) -> Self:
        widths = [w for w in (self.tolerance, self.standard_errors) if w is not None]
        bounds = [b for b in (self.above, self.below) if b is not None]
        if len(widths) != (self.published is not None) or not (widths or bounds):
            raise ValueError("a check needs published with tolerance or standard_errors, or else above or below")
        return self


class Control(Part):
    """A planted mistake that must miss the claim.

    column, where: replace those of each term. variants, runs: name -> the name that replaces it.
    """

    mistake: Text
    column: str = ""
    where: dict[str, Value] = {}
    variants: dict[str, str] = {}
    runs: dict[str, str] = {}

    def plant(self, term: Term) -> Term:
        """Return the term with the mistake."""
        where = {
            name: self.variants.get(str(value), value) if name == "variant" else value
            for name, value in (term.where | self.where).items()
        }
        run, column = self.runs.get(term.run, term.run), self.column or term.column
        return term.model_copy(update={"run": run, "column": column, "where": where})


class Claim(Part):
    """A published statement with all that reproduces it. hours: expected processor time, h."""

    title: Text
    source: Text
    hours: Annotated[float, Field(ge=0)]
    deviations: tuple[Text, ...]
    note: str = ""
    runs: tuple[ClaimedRun, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = Field(min_length=1)
    control: Control
    name: str = ""
    folder: Path = CLAIMS

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [run.name for run in self.runs]
        terms = [term for check in self.checks for term in (*check.terms, *filter(None, [check.divisor]))]
        for name in [*self.control.runs, *self.control.runs.values(), *(term.run for term in terms)]:
            if name and name not in names:
                raise ValueError(f"there is no run '{shorten(name, 40)}'; known: {', '.join(names)}")
        if len({*names}) < len(names):
            raise ValueError(f"two runs have the same name: {', '.join(sorted(names))}")
        return self

    def find_run(self, name: str) -> ClaimedRun:
        """Return the run of that name; the first if the name is empty."""
        return next(run for run in self.runs if name in ("", run.name))


def list_claims() -> list[str]:
    """Return the names of the project's claims."""
    return sorted(path.stem for path in CLAIMS.glob("*.toml"))


def load_claim(name: str) -> Claim:
    """Load a claim: a name from `list_claims`, or the path of a TOML file."""
    path = CLAIMS / f"{name}.toml" if name in list_claims() else Path(name)
    if path.suffix != ".toml":
        raise unknown("claim", name, list_claims())
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"can't read the claim {path}: {reason}; name a TOML file or one of those of --list") from error
    try:
        claim = Claim(**(table | {"name": path.stem, "folder": path.parent}))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        message = fault["msg"].removeprefix("Value error, ")
        raise UserError(f"{path.name}, {place}: {message[0].lower()}{message[1:]}") from error
    for run in claim.runs:
        try:
            load_settings(run.preset, run.settings)
        except UserError as error:
            raise UserError(f"{path.name}, settings of the run {run.name}: {str(error).lstrip('-')}") from error
    return claim
