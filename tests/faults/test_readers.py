"""Damaged and hostile input: no traceback, no hang, no wrong success."""

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from benchmarks.common.errors import DamageError, UserError
from benchmarks.planning import settings
from benchmarks.reporting import formats, image_arrays, results_table, summaries
from benchmarks.runs import cell_files, manifests

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
        return cell_files.read_cell(tmp_path, path.stem)

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
            manifests.read_manifest(tmp_path)


def test_a_table_that_is_cut_at_every_tenth_byte_and_line(undisturbed, tmp_path):
    """A cut between two lines does not show in the file itself; the command names the number of missing cells."""
    content, path = (undisturbed / "results.csv").read_bytes(), tmp_path / "results.csv"
    for end in range(0, len(content), 10):
        if content[end - 1 : end] != b"\n":
            path.write_bytes(content[:end])
            with pytest.raises(UserError):
                results_table.read_results(path)
    (tmp_path / "manifest.json").write_bytes((undisturbed / "manifest.json").read_bytes())
    complete = undisturbed / "results.csv"
    assert manifests.describe_shortfall(complete, results_table.read_results(complete)) == ""
    lines = content.splitlines(keepends=True)
    for count in range(2, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        complete = (count - 1) // 3  # of three checkpoints
        shortfall = manifests.describe_shortfall(path, results_table.read_results(path))
        assert f"has {complete} of 4 planned cells" in shortfall


def test_images_that_are_cut_at_every_tenth_byte_are_refused(undisturbed, tmp_path):
    path = next((undisturbed / "cells").glob("*.npz"))
    content = path.read_bytes()
    (tmp_path / "cells").mkdir()
    for end in range(0, len(content), max(10, len(content) // 500)):
        (tmp_path / "cells" / path.name).write_bytes(content[:end])
        assert not cell_files.has_complete_images(tmp_path, path.stem)
        with pytest.raises(UserError, match=r"\.npz is damaged"):
            image_arrays.read_image_arrays(tmp_path, path.stem)


def make_all_outputs(path):
    """Make everything that is made from a results.csv."""
    results = results_table.read_results(path)
    summary = summaries.summarize(results)
    for style in formats.TABLE_FORMATS:
        assert formats.render_table(summary, formats.choose_metrics([]), style)
    summaries.make_headline(results)
    summaries.list_inconsistencies(results)
    return results


@QUIET
@given(data=st.data())
def test_no_cell_file_causes_a_traceback_or_a_table_that_is_refused(cell, tmp_path, data):
    content, write = cell
    record = json.loads(content)
    part = record
    for key in data.draw(st.sampled_from([(), ("common",), ("rows",), ("rows", 0), ("rows", 2), ("planned",)])):
        part = part[key]
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique=True)):
        part[key] = data.draw(JSON)
    manifests.rebuild_manifest([record])
    try:
        valid_record = write(json.dumps(record).encode("utf-8", "surrogatepass"))
    except (DamageError, UserError):
        return
    results_table.write_results(tmp_path, [valid_record])
    make_all_outputs(tmp_path / "results.csv")


@QUIET
@given(data=st.data())
def test_no_results_csv_causes_a_traceback(undisturbed, tmp_path, data):
    table = pd.read_csv(undisturbed / "results.csv", dtype=str, keep_default_na=False)
    for _ in range(data.draw(st.integers(1, 3))):
        line, column = data.draw(st.integers(0, len(table) - 1)), data.draw(st.sampled_from(list(table.columns)))
        table.loc[line, column] = data.draw(st.text(max_size=12) | NUMBERS.map(str))
    table.to_csv(tmp_path / "results.csv", index=False, errors="surrogatepass")
    with contextlib.suppress(UserError):
        make_all_outputs(tmp_path / "results.csv")


def test_a_row_that_is_longer_than_the_header_is_refused(undisturbed, tmp_path):
    header, *lines = (undisturbed / "results.csv").read_text().splitlines()
    (tmp_path / "results.csv").write_text("\n".join([header, *(f"{line},1" for line in lines)]) + "\n")
    with pytest.raises(UserError, match="longer than its header"):
        results_table.read_results(tmp_path / "results.csv")


@QUIET
@given(content=st.binary(max_size=200), where=st.floats(0, 1))
def test_no_bytes_in_a_results_csv_cause_a_traceback(undisturbed, tmp_path, content, where):
    content = (undisturbed / "results.csv").read_bytes()
    cut = int(where * len(content))
    (tmp_path / "results.csv").write_bytes(content[:cut] + content + content[cut + len(content) :])
    with contextlib.suppress(UserError):
        make_all_outputs(tmp_path / "results.csv")


@QUIET
@given(data=st.data())
def test_no_preset_causes_a_traceback(tiny, tmp_path, data):
    """A complete preset with some values replaced; accepted values are within their bounds."""
    lines = [line for line in Path(tiny).read_text().splitlines() if line]
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(lines) - 1))
        value = data.draw(st.text(max_size=9) | NUMBERS.map(str) | st.lists(st.integers(), max_size=3).map(str))
        lines[i] = f"{lines[i].split('=')[0]}= {value}"
    path = tmp_path / "mine.toml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(UserError):
        loaded = settings.load_settings(str(path), {})
        assert loaded.epochs >= 1
        assert loaded.seeds


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
        results_table.read_results(tmp_path / "results.csv")
    assert "\x1b" not in str(refused.value)
