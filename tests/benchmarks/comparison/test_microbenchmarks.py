"""Comparison of micro-benchmarks from files of pytest-benchmark."""

import json

import pytest

from benchmarks.common.errors import UserError
from benchmarks.comparison import microbenchmarks, verdict_tables
from benchmarks.comparison.verdicts import choose_exit_code


@pytest.fixture
def write_files(tmp_path):
    """Return a function that writes the files of one side, one file for each median of one benchmark."""

    def write(side, medians, minute=0, every=2, name="test_step[vae]", processor="a"):
        (tmp_path / side).mkdir(exist_ok=True)
        for i, median in enumerate(medians):
            benchmark = {
                "fullname": f"benchmarks/micro/bench_cells.py::{name}",
                "name": name,
                "stats": {"median": median},
            }
            moment = f"2026-01-01T00:{minute + every * i:02d}:00+00:00"
            content = {"datetime": moment, "machine_info": {"cpu": {"brand_raw": processor}}, "benchmarks": [benchmark]}
            (tmp_path / side / f"{i}.json").write_text(json.dumps(content))
        return microbenchmarks.find_benchmark_files(str(tmp_path / side))

    return write


TIMES = (1.0, 1.01, 0.99, 1.02, 1.0)


def test_slowdown_fails_if_measured_in_turns_else_it_is_advice(write_files):
    base = write_files("base", TIMES)
    slower = [1.5 * t for t in TIMES]
    for minute, every, code in ((1, 2, 1), (30, 2, 0)):
        verdicts = microbenchmarks.compare_benchmarks(base, write_files("new", slower, minute, every), 0.01)
        assert [(v.dataset, v.variant, v.metric) for v in verdicts] == [("bench_cells", "test_step[vae]", "seconds")]
        assert (verdicts[0].word, choose_exit_code(verdicts)) == ("regressed", code)
        assert "+50 %" in verdict_tables.render_verdicts(verdicts, "text", show_all=True)
    verdicts = microbenchmarks.compare_benchmarks(base, write_files("new", [t / 1.5 for t in TIMES], 1), 0.01)
    assert (verdicts[0].word, choose_exit_code(verdicts)) == ("improved", 0)
    assert choose_exit_code(microbenchmarks.compare_benchmarks(base, write_files("new", TIMES, 1), 0.01)) == 0


def test_missing_benchmark_new_benchmark_and_other_processor(write_files):
    base = write_files("base", TIMES)
    verdicts = microbenchmarks.compare_benchmarks(base, write_files("new", TIMES, 1, name="test_other"), 0.01)
    assert {(v.variant, v.word) for v in verdicts} == {("test_step[vae]", "missing"), ("test_other", "new")}
    assert choose_exit_code(verdicts) == 2
    verdicts = microbenchmarks.compare_benchmarks(base, write_files("new", TIMES, 1, processor="b"), 0.01)
    assert verdicts[0].word == "incomparable"


def write_named(folder, medians, timer="perf_counter", minute=0):
    """Files with one benchmark per full name; each file is a turn."""
    folder.mkdir(exist_ok=True)
    for turn, factor in enumerate(TIMES):
        benchmarks = [
            {
                "fullname": fullname,
                "name": fullname.rpartition("::")[2],
                "stats": {"median": factor * median},
                "options": {"timer": timer},
            }
            for fullname, median in medians.items()
        ]
        moment = f"2026-01-01T00:{minute + 2 * turn:02d}:00+00:00"
        content = {"datetime": moment, "machine_info": {"cpu": {"brand_raw": "a"}}, "benchmarks": benchmarks}
        (folder / f"{turn}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/bench.py::A::test_f", "a/bench.py::B::test_f"], [("bench", "A::test_f"), ("bench", "B::test_f")]),
        (["a/one.py::test_f", "a/two.py::test_f"], [("one", "test_f"), ("two", "test_f")]),
        (["a/bench.py::test_f", "b/bench.py::test_f"], [("a/bench.py", "test_f"), ("b/bench.py", "test_f")]),
        (["a/bench.py::test_f[1]", "a/bench.py::test_f[x::1]"], [("bench", "test_f[1]"), ("bench", "test_f[x::1]")]),
    ],
    ids=["classes", "files", "folders", "parameters"],
)
def test_benchmarks_of_the_same_name_are_compared_one_by_one(tmp_path, ask, names, labels):
    for slow in range(2):
        write_named(tmp_path / "base", dict.fromkeys(names, 1.0))
        write_named(tmp_path / "new", {name: 2.0 if i == slow else 1.0 for i, name in enumerate(names)}, minute=1)
        done = ask("compare", tmp_path / "base", tmp_path / "new", "--format", "json")
        assert done.returncode == 1, done.stderr
        words = {(v["dataset"], v["variant"]): v["verdict"] for v in json.loads(done.stdout)["verdicts"]}
        assert words == {labels[slow]: "regressed", labels[1 - slow]: "unchanged"}


def test_nanoseconds_are_seconds_and_another_clock_is_not_compared(tmp_path):
    write_named(tmp_path / "base", {"a.py::test_f": 1e-6})
    base = microbenchmarks.find_benchmark_files(str(tmp_path / "base"))
    for timer, median, word in (("perf_counter_ns", 1e3, "unchanged"), ("process_time", 1e-6, "incomparable")):
        write_named(tmp_path / "new", {"a.py::test_f": median}, timer, minute=1)
        new = microbenchmarks.find_benchmark_files(str(tmp_path / "new"))
        (verdict,) = microbenchmarks.compare_benchmarks(base, new, 0.01)
        assert verdict.word == word
    assert verdict.note == "timers differ: perf_counter in base, process_time in new"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ("{}", "machine_info: Field required"),
        ('{"context": {}, "benchmarks": [{"name": "a", "real_time": 1, "time_unit": "ns"}]}', "machine_info: Field"),
        ("\xff", "Invalid JSON"),
    ],
)
def test_invalid_file_is_refused(tmp_path, content, words):
    (tmp_path / "x.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        microbenchmarks.compare_benchmarks(*[microbenchmarks.find_benchmark_files(str(tmp_path / "x.json"))] * 2, 0.01)


def test_compare_command_with_benchmark_files(write_files, tmp_path, ask):
    write_files("base", TIMES)
    write_files("new", [1.5 * t for t in TIMES], 1)
    done = ask("compare", tmp_path / "base", tmp_path / "new")
    assert done.returncode == 1, done.stderr
    assert "regressed" in done.stdout
    done = ask("compare", tmp_path / "base", tmp_path / "new", "--format", "html")
    assert done.returncode == 64
    assert "have no page" in done.stderr
    done = ask("compare", tmp_path / "base" / "0.json", tmp_path / "new" / "0.json", "--metrics", "elbo")
    assert done.returncode == 64
    assert "contain only times" in done.stderr
