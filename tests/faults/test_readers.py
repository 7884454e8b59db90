"""What is read: no input makes a traceback, a hang, or a wrong success."""

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from benchmarks import formats, manifests, report, settings, store, tables
from benchmarks.errors import DamageError, UserError

QUIET = hypothesis(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.floats() | st.integers() | st.just(10**400)
JSON = st.recursive(st.none() | st.booleans() | NUMBERS | st.text(max_size=9), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
))  # fmt: skip


@pytest.fixture
def cell(undisturbed, tmp_path):
    """A cell's file in a folder of its own: its content, and a way to write another."""
    path = next((undisturbed / "cells").glob("*.json"))
    (tmp_path / "cells").mkdir()
    content = path.read_bytes()

    def write(content):
        (tmp_path / "cells" / path.name).write_bytes(content)
        return store.read_cell(tmp_path, path.stem)

    return content, write


def test_a_cell_that_is_cut_at_every_tenth_byte(cell):
    content, write = cell
    for end in range(0, len(content) - 2, 10):
        with pytest.raises(DamageError):
            write(content[:end])


def test_a_manifest_that_is_cut_at_every_tenth_byte(undisturbed, tmp_path):
    content = (undisturbed / "manifest.json").read_bytes()
    for end in range(0, len(content) - 2, 10):
        (tmp_path / "manifest.json").write_bytes(content[:end])
        with pytest.raises(DamageError):
            manifests.read(tmp_path)


def test_a_table_that_is_cut_at_every_tenth_byte_and_line(undisturbed, tmp_path):
    """Between two lines nothing shows in the file itself; the command says which cells it lacks."""
    whole, path = (undisturbed / "results.csv").read_bytes(), tmp_path / "results.csv"
    for end in range(0, len(whole), 10):
        if whole[end - 1 : end] != b"\n":
            path.write_bytes(whole[:end])
            with pytest.raises(UserError):
                store.read_results(path)
    (tmp_path / "manifest.json").write_bytes((undisturbed / "manifest.json").read_bytes())
    assert report.shortfall(undisturbed / "results.csv", store.read_results(undisturbed / "results.csv")) == ""
    lines = whole.splitlines(keepends=True)
    for count in range(2, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        kept = (count - 1) // 3  # of three checkpoints
        assert f"holds {kept} of 4 planned cells whole" in report.shortfall(path, store.read_results(path))


def test_pictures_that_are_cut_at_every_tenth_byte_are_named(undisturbed, tmp_path):
    path = next((undisturbed / "cells").glob("*.npz"))
    whole = path.read_bytes()
    (tmp_path / "cells").mkdir()
    for end in range(0, len(whole), max(10, len(whole) // 500)):
        (tmp_path / "cells" / path.name).write_bytes(whole[:end])
        assert not store.has_whole_pictures(tmp_path, path.stem)
        with pytest.raises(UserError, match=r"\.npz is damaged"):
            store.read_pictures(tmp_path, path.stem)


def everything_of(path):
    """All that is made of a results.csv."""
    results = store.read_results(path)
    found = tables.summaries(results)
    for style in formats.FORMATS:
        assert formats.render(found, formats.choose([]), style)
    tables.headline(results)
    tables.inconsistencies(results)
    return results


@QUIET
@given(data=st.data())
def test_no_cells_file_makes_a_traceback_or_a_table_that_is_refused(cell, tmp_path, data):
    content, write = cell
    record = json.loads(content)
    part = record
    for key in data.draw(st.sampled_from([(), ("common",), ("rows",), ("rows", 0), ("rows", 2), ("planned",)])):
        part = part[key]
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique=True)):
        part[key] = data.draw(JSON)
    manifests.rebuilt([record])
    try:
        own = write(json.dumps(record).encode("utf-8", "surrogatepass"))
    except (DamageError, UserError):
        return
    store.write_results(tmp_path, [own])
    everything_of(tmp_path / "results.csv")


@QUIET
@given(data=st.data())
def test_no_results_csv_makes_a_traceback(undisturbed, tmp_path, data):
    table = pd.read_csv(undisturbed / "results.csv", dtype=str, keep_default_na=False)
    for _ in range(data.draw(st.integers(1, 3))):
        line, column = data.draw(st.integers(0, len(table) - 1)), data.draw(st.sampled_from(list(table.columns)))
        table.loc[line, column] = data.draw(st.text(max_size=12) | NUMBERS.map(str))
    table.to_csv(tmp_path / "results.csv", index=False, errors="surrogatepass")
    with contextlib.suppress(UserError):
        everything_of(tmp_path / "results.csv")


def test_a_row_that_is_longer_than_the_header_is_refused(undisturbed, tmp_path):
    header, *lines = (undisturbed / "results.csv").read_text().splitlines()
    (tmp_path / "results.csv").write_text("\n".join([header, *(f"{line},1" for line in lines)]) + "\n")
    with pytest.raises(UserError, match="longer than its header"):
        store.read_results(tmp_path / "results.csv")


@QUIET
@given(content=st.binary(max_size=200), where=st.floats(0, 1))
def test_no_bytes_within_a_results_csv_make_a_traceback(undisturbed, tmp_path, content, where):
    whole = (undisturbed / "results.csv").read_bytes()
    cut = int(where * len(whole))
    (tmp_path / "results.csv").write_bytes(whole[:cut] + content + whole[cut + len(content) :])
    with contextlib.suppress(UserError):
        everything_of(tmp_path / "results.csv")


@QUIET
@given(data=st.data())
def test_no_preset_makes_a_traceback(tiny, tmp_path, data):
    """A whole preset with some of its values replaced; what is accepted keeps to its bounds."""
    lines = [line for line in Path(tiny).read_text().splitlines() if line]
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(lines) - 1))
        value = data.draw(st.text(max_size=9) | NUMBERS.map(str) | st.lists(st.integers(), max_size=3).map(str))
        lines[i] = f"{lines[i].split('=')[0]}= {value}"
    path = tmp_path / "mine.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UserError):
        found = settings.load(str(path), {})
        assert found.epochs >= 1
        assert found.seeds


HOSTILE = [
    "../../etc/passwd",
    "a\x1b[31mb",
    "$\\alpha$",
    "=1+1",
    "a\nb",
    "<b>x</b>",
    "..",
    "a/b",
    "x" * 200,
    "\u202eevil",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("column", ["variant", "dataset", "cell_id"])
def test_a_hostile_name_is_refused_before_it_is_printed_drawn_or_opened(undisturbed, tmp_path, column, text):
    table = pd.read_csv(undisturbed / "results.csv", dtype=str, keep_default_na=False)
    table.assign(**{column: text}).to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(UserError) as refused:
        store.read_results(tmp_path / "results.csv")
    assert "\x1b" not in str(refused.value)
