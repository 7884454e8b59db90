"""What a run folder was planned to hold. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.errors import DamageError, UserError
from benchmarks.files import NAME, SCHEMA_VERSION, Record, read_json

FILE = "manifest.json"


class Cell(Protocol):
    """What is planned, run and kept: a case, or a probe of the laboratory."""

    @property
    def label(self) -> str:
        """As a person calls it."""

    @property
    def protocol(self) -> Any: ...

    @property
    def seed(self) -> int: ...

    @property
    def cell_id(self) -> str: ...

    @property
    def protocol_id(self) -> str: ...

    @property
    def data_checksum(self) -> str: ...

    @property
    def commit(self) -> str: ...


def planned(cell: Cell, fields: Record) -> Record:
    """What a manifest holds of a cell, and the cell's own file too. fields: what it computes, with a "name"."""
    return {
        "cell_id": cell.cell_id,
        "protocol_id": cell.protocol_id,
        "variant": fields,
        "dataset": cell.protocol.dataset,
        "seed": cell.seed,
        "protocol": dataclasses.asdict(cell.protocol),
        "data_checksum": cell.data_checksum,
    }


def read(folder: Path) -> Record | None:
    """The folder's manifest, None where there is none; `DamageError` where it is not whole."""
    try:
        content = read_json(folder / FILE)
    except FileNotFoundError:
        return None
    _check(content)
    return content


def _check(content: Record) -> None:
    try:
        if not isinstance(content["protocol"], dict) or not isinstance(content["data_checksum"], str):
            raise DamageError("it has no protocol")
        for cell in content["cells"]:
            named = isinstance(cell["variant"]["name"], str) and isinstance(cell["variant"], dict)
            if not named or not NAME.fullmatch(cell["cell_id"]):
                raise DamageError("it plans a cell that is none")
    except (KeyError, TypeError) as error:
        raise DamageError("it has not the parts of a manifest") from error


def rebuilt(records: Iterable[Record]) -> Record | None:
    """A manifest from what its cells say of themselves; None where none says it, as those of schema 1."""
    plans = [record["planned"] for record in records if _is_plan(record.get("planned"))]
    return _manifest(plans, plans[0]["protocol"], plans[0]["data_checksum"]) if plans else None


def _is_plan(plan: Any) -> bool:
    try:
        _check(_manifest([plan], plan["protocol"], plan["data_checksum"]))
    except (DamageError, KeyError, TypeError):
        return False
    return True


def _manifest(plans: Sequence[Record], protocol: Any, checksum: Any) -> Record:
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    cells = [{key: plan[key] for key in plan if key not in ("protocol", "data_checksum")} for plan in plans]
    head = {"schema_version": SCHEMA_VERSION, "created": created, "protocol": protocol, "data_checksum": checksum}
    return {**head, "cells": cells}


def merged(folder: Path, held: Record | None, plans: Sequence[Record]) -> Record:
    """The manifest that is held with these cells added; refused where it is of another protocol."""
    made = _manifest(plans, plans[0]["protocol"], plans[0]["data_checksum"])
    mine: Record = json.loads(json.dumps(made))  # as it comes back from a file
    if held is None:
        return mine
    _check_same(folder, held, mine)
    cells = {cell["cell_id"]: cell for cell in [*held["cells"], *mine["cells"]]}
    return {**held, "schema_version": SCHEMA_VERSION, "cells": list(cells.values())}


def _check_same(folder: Path, held: Record, mine: Record) -> None:
    other = f"{folder} holds another protocol"
    for key, value in mine["protocol"].items():
        if held["protocol"].get(key) != value:
            raise UserError(
                f"{other}: {key} is {held['protocol'].get(key)} there and {value} here; "
                "use another --name, or the settings of that run"
            )
    if held["data_checksum"] != mine["data_checksum"]:
        raise UserError(
            f"{folder} was made with other data of the same name (their checksums differ); use another --name"
        )
    there = {cell["variant"]["name"]: cell["variant"] for cell in held["cells"]}
    for cell in mine["cells"]:
        name = cell["variant"]["name"]
        for key, value in cell["variant"].items() if name in there else ():
            if there[name].get(key) != value:
                raise UserError(
                    f"{other}: {name} has {key} {there[name].get(key)} there and {value} here; use another --name"
                )
