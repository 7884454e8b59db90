"""The command `compare`: its output, its errors and its exit codes."""

import json

import pandas as pd


def test_compare_command(finished, ask, tmp_path):
    finished = finished.folder
    same = ask("compare", finished, finished)
    assert same.returncode == 0, same.stderr
    assert "identical" in same.stdout
    head = same.stdout.splitlines()[:2]
    assert head[0].startswith(f"base: {finished} (commit ")
    assert head[1].startswith(f"new: {finished} (commit ")
    results = pd.read_csv(finished / "results.csv", dtype=str, keep_default_na=False)
    worse = results.copy()
    ok = worse["elbo"] != ""
    for name, sign in (("elbo", -5), ("reconstruction_error", 5)):
        worse.loc[ok, name] = [repr(float(value) + sign) for value in worse.loc[ok, name]]
    worse.to_csv(tmp_path / "worse.csv", index=False)
    done = ask("compare", finished, tmp_path / "worse.csv", "--format", "markdown")
    assert done.returncode == 1
    assert "| regressed |" in done.stdout
    page = ask("compare", finished, tmp_path / "worse.csv", "--format", "html")
    assert page.returncode == 1
    assert page.stdout.startswith("<!DOCTYPE html>")
    assert '<tr data-verdict="regressed">' in page.stdout
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cut.csv").write_bytes((finished / "results.csv").read_bytes()[:-40])
    for bad, words in (("empty.csv", "can't read"), ("cut.csv", "is cut off in its last line")):
        done = ask("compare", finished, tmp_path / bad)
        assert done.returncode == 64
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
    worse[worse["variant"] == "vae"].to_csv(tmp_path / "one.csv", index=False)
    assert ask("compare", finished, tmp_path / "one.csv").returncode == 2
    some = ask("compare", finished, tmp_path / "one.csv", "--variants", "vae")
    assert some.returncode == 1
    assert "missing" not in some.stdout
    done = ask("compare", finished, finished, "--variants", "vea")
    assert done.returncode == 64
    assert "unknown variant 'vea'; did you mean vae" in done.stderr
    done = ask("compare", finished, finished, "--allow", "unknown")
    assert done.returncode == 64
    assert "unknown variant 'unknown'" in done.stderr


def test_incomplete_run_on_either_side_gives_exit_code_2(finished, ask, tmp_path):
    table = pd.read_csv(finished.folder / "results.csv", dtype=str, keep_default_na=False)
    for name in ("manifest.json", "environment.json"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    table[table["variant"] != "vae"].to_csv(tmp_path / "results.csv", index=False)
    for sides in ((tmp_path, finished.folder), (finished.folder, tmp_path)):
        done = ask("compare", *sides, "--allow", "vae", "--format", "json")
        assert done.returncode == 2
        answer = json.loads(done.stdout)
        assert answer["exit_code"] == 2
        assert (answer["base"]["place"], answer["new"]["place"]) == tuple(map(str, sides))
        assert "planned cells" in done.stderr
