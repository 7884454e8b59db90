"""pytest-benchmark's results through the gate on speed."""

import json

import pytest

from benchmarks.errors import UserError
from benchmarks.regressions import micro, reports
from benchmarks.regressions.verdicts import exit_code


@pytest.fixture
def written(tmp_path):
    """Files of one side: a file a minute from a minute on, with these medians of one benchmark."""

    def write(side, medians, minute=0, every=2, name="test_step[vae]", processor="a"):
        (tmp_path / side).mkdir(exist_ok=True)
        for i, median in enumerate(medians):
            one = {"fullname": f"benchmarks/micro/bench_cells.py::{name}", "name": name, "stats": {"median": median}}
            moment = f"2026-01-01T00:{minute + every * i:02d}:00+00:00"
            content = {"datetime": moment, "machine_info": {"cpu": {"brand_raw": processor}}, "benchmarks": [one]}
            (tmp_path / side / f"{i}.json").write_text(json.dumps(content))
        return micro.files(str(tmp_path / side))

    return write


TIMES = (1.0, 1.01, 0.99, 1.02, 1.0)


def test_slower_in_turns_fails_and_one_after_the_other_is_advice(written):
    base = written("base", TIMES)
    slower = [1.5 * t for t in TIMES]
    for minute, every, code in ((1, 2, 1), (30, 2, 0)):
        found = micro.compare(base, written("new", slower, minute, every), 0.01)
        assert [(v.dataset, v.variant, v.metric) for v in found] == [("bench_cells", "test_step[vae]", "seconds")]
        assert (found[0].word, exit_code(found)) == ("regressed", code)
        assert "+50 %" in reports.render(found, "text", whole=True)
    found = micro.compare(base, written("new", [t / 1.5 for t in TIMES], 1), 0.01)
    assert (found[0].word, exit_code(found)) == ("improved", 0)
    assert exit_code(micro.compare(base, written("new", TIMES, 1), 0.01)) == 0


def test_what_is_missing_or_new_or_of_another_machine(written):
    base = written("base", TIMES)
    found = micro.compare(base, written("new", TIMES, 1, name="test_other"), 0.01)
    assert {(v.variant, v.word) for v in found} == {("test_step[vae]", "missing"), ("test_other", "new")}
    assert exit_code(found) == 2
    found = micro.compare(base, written("new", TIMES, 1, processor="b"), 0.01)
    assert found[0].word == "incomparable"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ("{}", "machine_info: Field required"),
        ("\xff", "Invalid JSON"),
    ],
)
def test_a_file_that_is_none_of_these(tmp_path, content, words):
    (tmp_path / "x.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        micro.compare(*[micro.files(str(tmp_path / "x.json"))] * 2, 0.01)


def test_the_command(written, tmp_path, ask):
    written("base", TIMES)
    written("new", [1.5 * t for t in TIMES], 1)
    done = ask("compare", tmp_path / "base", tmp_path / "new")
    assert done.returncode == 1, done.stderr
    assert "regressed" in done.stdout
    done = ask("compare", tmp_path / "base" / "0.json", tmp_path / "new" / "0.json", "--metrics", "elbo")
    assert done.returncode == 64
    assert "hold times alone" in done.stderr
