"""In every environment a command has the same results, table and exit code, and no traceback."""

import re
import shutil

import pytest

from tests.faults.environments.table import COMMANDS, ENVIRONMENTS, MATRIX

QUICK = ("binding of OpenMP", "home that can't be written", "long TMPDIR")
TIMINGS = re.compile(r"\d+(\.\d+)? (s|ms)\b|[0-9.]+e?[+-]?\d* (GFLOP|examples)\S*|0x[0-9a-f]+")


def check_equal(answer, environment, command):
    code, output, errors, results = answer(environment, command)
    expected_code, expected_output, _, expected_results = answer("plain", command)
    assert "Traceback" not in errors + output
    assert code == expected_code, errors
    assert results == expected_results
    if command not in ("profile", "check") and environment not in ("C locale", "ASCII streams"):
        plain, other = (TIMINGS.sub("", text).split() for text in (expected_output, output))
        assert other == plain


@pytest.mark.parametrize("environment", QUICK)
def test_a_run_is_the_same(answer, environment):
    check_equal(answer, environment, "run")
    assert answer(environment, "run")[0] == 0


@pytest.mark.faults
@pytest.mark.parametrize("environment", [name for name in ENVIRONMENTS if name not in ("plain", *QUICK)])
def test_a_run_is_the_same_in_every_environment(answer, environment):
    check_equal(answer, environment, "run")


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("environment", MATRIX)
def test_every_command_is_the_same(answer, environment, command):
    check_equal(answer, environment, command)


@pytest.mark.faults
def test_the_plain_environment_has_the_right_exit_codes(answer):
    codes = {command: answer("plain", command)[0] for command in COMMANDS}
    expected = dict.fromkeys(COMMANDS, 0) | {"compare with a worse run": 1, "unknown": 64, "power": codes["power"]}
    assert codes == expected


@pytest.mark.faults
@pytest.mark.parametrize(("mask", "mode"), [("077", 0o600), ("002", 0o664), ("022", 0o644)])
def test_the_umask_decides_who_can_read(start_folder, tmp_path, mask, mode):
    shutil.copytree(start_folder, tmp_path, dirs_exist_ok=True)
    environment = ENVIRONMENTS["plain"]
    cache = {"VAEZOO_CACHE": "$FOLDER/cache"}
    done = type(environment)(cache, shell=f"umask {mask}").run(tmp_path, COMMANDS["run"])
    assert done.returncode == 0
    files = [path for name in ("out", "cache") for path in (tmp_path / name).rglob("*") if path.is_file()]
    modes = {oct(path.stat().st_mode & 0o777) for path in files if path.suffix != ".lock"}
    assert modes == {oct(mode)}


@pytest.mark.parametrize(
    ("output", "command"),
    [("true", "run"), ("true", "unknown"), pytest.param("head -1", "run", marks=pytest.mark.faults)],
)
def test_a_reader_that_has_gone_costs_no_result(answer, start_folder, numbers, tmp_path, output, command):
    shutil.copytree(start_folder, tmp_path, dirs_exist_ok=True)
    environment = type(ENVIRONMENTS["plain"])(redirect=f"2>&1 | {output}; echo ${{PIPESTATUS[0]}} >&2")
    done = environment.run(tmp_path, COMMANDS[command])
    if output == "true":
        assert done.stderr.splitlines()[-1] == "141"
    if command == "run":
        assert numbers(tmp_path / "out" / "new").to_csv() == answer("plain", "run")[3][0][0]


@pytest.mark.parametrize("redirect", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(start_folder, tmp_path, redirect):
    shutil.copytree(start_folder, tmp_path, dirs_exist_ok=True)
    environment = type(ENVIRONMENTS["plain"])(redirect=redirect)
    assert environment.run(tmp_path, COMMANDS["compare"]).returncode == 0
    assert environment.run(tmp_path, COMMANDS["compare with a worse run"]).returncode == 1


def test_a_full_output_is_said_and_costs_no_result(answer, start_folder, numbers, tmp_path):
    shutil.copytree(start_folder, tmp_path, dirs_exist_ok=True)
    done = type(ENVIRONMENTS["plain"])(redirect=">/dev/full").run(tmp_path, COMMANDS["run"])
    assert done.returncode == 2
    assert "No space left on device: standard output" in done.stderr
    assert numbers(tmp_path / "out" / "new").to_csv() == answer("plain", "run")[3][0][0]
