"""The command `reproduce`: runs what is missing, judges, and notices what is no longer verified."""

import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def claim(tmp_path):
    """The claim of the page, in a file."""
    text = (ROOT / "docs" / "published-numbers.md").read_text(encoding="utf-8")
    path = tmp_path / "my-claim.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])
    return path


def test_a_claim_is_one_file_and_runs_once(command, ask, claim, tmp_path):
    out = tmp_path / "reproductions"
    missing = ask("reproduce", claim, "--check", "--out", out)
    assert missing.stdout.startswith("not reached my-claim: missing runs: main; the claim needs 0.01 h of one core")
    assert (missing.returncode, out.exists()) == (0, False)
    done = command("reproduce", claim, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "verified    my-claim\n    ELBO of the VAE minus that without the path, nats: " in done.stdout
    again = ask("reproduce", claim, "--out", out)
    assert "seed" not in again.stderr
    assert again.stdout == done.stdout.removeprefix("my-claim: main\n")
    assert json.loads((out / "my-claim" / "claim.json").read_text())["status"] == "verified"

    results = out / "my-claim" / "main" / "results.csv"
    results.write_text(results.read_text().replace("vae-blocked,", "swapped,").replace("vae,", "vae-blocked,"))
    results.write_text(results.read_text().replace("swapped,", "vae,"))
    for check in (["--check"], []):
        worse = ask("reproduce", claim, "--out", out, *check)
        assert worse.returncode == 1
        assert "refuted     my-claim: ELBO of the VAE" in worse.stdout
        assert "verified before, and no longer: my-claim" in worse.stdout


def test_changed_settings_are_not_reached(claim, ask, tmp_path):
    out = tmp_path / "reproductions"
    claim.write_text(claim.read_text().replace("epochs = 20", "epochs = 1"))
    assert ask("reproduce", claim, "--out", out).returncode == 0
    claim.write_text(claim.read_text().replace("epochs = 1", "epochs = 2"))
    assert ask("reproduce", claim, "--check", "--out", out).stdout.startswith("not reached my-claim")
    shutil.rmtree(out / "my-claim" / "main" / "cells")  # as in a clone
    done = ask("reproduce", claim, "--out", out)
    assert (
        f"error: {out / 'my-claim' / 'main'} has results of other settings than the claim, and no cells" in done.stderr
    )


def test_mistakes_are_one_line(ask, claim, tmp_path):
    out = tmp_path / "reproductions"
    claim.write_text(claim.read_text().replace('"vae", "vae-blocked"', '"vea"'))
    done = ask("reproduce", claim, "--out", out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "error: my-claim, run main: unknown variant 'vea'" in done.stderr
    assert "not reached my-claim: missing runs: main" in done.stdout
    done = ask("reproduce", "nothing")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "error: unknown claim 'nothing'" in done.stderr


def test_the_list_has_all_costs(ask):
    listed = ask("reproduce", "--list").stdout
    assert "burda-2016-iwae-50" in listed
    assert listed.splitlines()[0].split() == ["claim", "hours", "of", "one", "core", "title"]


def test_committed_claims_are_as_they_were(ask):
    done = ask("reproduce", "--check")
    assert done.returncode == 0, done.stdout
