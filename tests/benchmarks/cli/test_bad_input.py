"""Mistakes of users: each gives one line and exit code 64."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DATA_ERROR = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def one_line_error(done):
    assert done.returncode == 64, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_user_error_of_a_new_process(command):
    assert "unknown variant 'vea'" in one_line_error(command("run", "vea"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "vea"], "unknown variant 'vea'; did you mean vae"),
        (["run", "vae", "--dataset", "mnsit"], "unknown dataset 'mnsit'; did you mean mnist"),
        (["run", "vae", "--preset", "defualt"], "unknown preset 'defualt'; did you mean default"),
        (["run"], "nothing to run"),
        (["run", "vae", "--all"], "variants and --all were both given"),
        (["run", "vae", "--family", "bernoulli"], "variants and --family were both given"),
        (["run", "vae", "--seeds", "0"], "--seeds: the number of seeds is 0, but must be at least 1"),
        (["run", "vae", "--seeds", "1,2,1"], "--seeds: seed 1 is repeated"),
        (["run", "vae", "--seeds=-1,2"], "--seeds: seed -1 is negative"),
        (["run", "vae", "--latent-dim", "0"], "--latent-dim: input should be greater than or equal to 1, got 0"),
        (["run", "vae", "--draws", "0"], "--draws: input should be greater than or equal to 1, got 0"),
        (["run", "reinforce-vae-loo", "--draws", "1"], "needs at least 2 draws per example, got 1"),
        (["run", "vae", "--device", "cuda"], "torch finds no CUDA device"),
        (["run", "vae", "--binarization", "none"], "the likelihood bernoulli is for binary data"),
        (["run", "vae", "--workers", "0"], "--workers 0"),
        (["run", "vae", "--name", "../x"], "is not allowed"),
        (["run", "vae", "--preset", "quick", "--batch-size", "5000"], "is larger than the 1258 training examples"),
        (["run", "vae", "--epochs", "many"], "--epochs"),
        (["run", "vae", "--dataset", "kmnist", "--data-root", "nowhere"], "put train-images-idx3-ubyte"),
        (["run", "vae", "--bogus"], "No such option"),
        (["walk"], "No such command 'walk'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_to_run(ask, tmp_path, arguments, words):
    extra = ["--out", tmp_path / "out"] if arguments[0] == "run" else []
    environment = DATA_ERROR | {"CUDA_VISIBLE_DEVICES": ""}
    assert words in one_line_error(ask(*arguments, *extra, **environment))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nope"], "there is no run nope"),
        (["plot", "nope"], "there is no run nope"),
        (["show", "."], "has no results.csv"),
        (["show", "bad.csv"], "lacks the columns"),
        (["show", "{run}", "--metrics", "elob"], "unknown metric 'elob'; did you mean elbo"),
        (["show", "{run}", "--format", "html"], "no such format"),
        (["list", "variant"], "unknown list 'variant'; did you mean variants"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_to_readers(ask, finished, tmp_path, arguments, words):
    (tmp_path / "bad.csv").write_text("variant,seed\nvae,0\n")
    paths = {"{run}": finished.folder, "bad.csv": tmp_path / "bad.csv", ".": tmp_path}
    extra = ["--out", tmp_path] if arguments[0] != "list" else []
    assert words in one_line_error(ask(*[paths.get(a, a) for a in arguments], *extra))


@pytest.mark.parametrize("out", ["/proc/nowhere", "file/below"])
def test_unwritable_output_folder(ask, tmp_path, out):
    (tmp_path / "file").write_text("")
    line = one_line_error(ask("run", "vae", "--preset", "quick", "--out", tmp_path / out))
    assert "--out: results can't be written" in line


def test_malformed_preset(ask, tmp_path):
    (tmp_path / "p.toml").write_text('dataset = "digits"\nepoch = 3\n')
    line = one_line_error(ask("run", "vae", "--preset", tmp_path / "p.toml", "--out", tmp_path / "out"))
    assert "p.toml, line 2, key epoch: unknown setting" in line


def test_corrupt_data_file(ask, tmp_path, tiny):
    done = ask("run", "vae", "--preset", tiny, "--seeds", 1, "--out", tmp_path / "a", VAEZOO_CACHE=str(tmp_path / "c"))
    assert done.returncode == 0, done.stderr
    path = next((tmp_path / "c").glob("digits-*")) / "test.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = ask("run", "vae", "--preset", tiny, "--out", tmp_path / "b", VAEZOO_CACHE=str(tmp_path / "c"))
    assert "are corrupt: their SHA-256" in one_line_error(again)
    assert not (tmp_path / "b").exists()


def test_run_folder_of_another_protocol(ask, finished, tiny):
    before = (finished.folder / "manifest.json").read_bytes()
    place = ["--out", finished.folder.parent, "--name", finished.folder.name]
    line = one_line_error(ask("run", "--all", "--preset", tiny, "--epochs", 3, *place))
    assert "has another protocol: epochs is 2 there and 3 here" in line
    line = one_line_error(ask("run", "vae", "--preset", tiny, "--draws", 2, *place))
    assert "another definition of vae: draws is 1 there and 2 here" in line
    assert (finished.folder / "manifest.json").read_bytes() == before


def test_folder_that_contains_no_run(ask, tmp_path, tiny):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    line = one_line_error(ask("run", "vae", "--preset", tiny, "--out", tmp_path, "--name", "mine"))
    assert "has thesis.tex but no cells" in line


def test_profile_of_a_failing_plugin_is_one_line(ask, tmp_path, tiny):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import dataclasses\nfrom vaezoo import VARIANTS as ALL\n"
        "def broken(spec, latent_dim):\n    raise ZeroDivisionError('nothing there')\n"
        "VARIANTS = [dataclasses.replace(ALL[1], name='mine', architecture=broken)]\n"
    )
    line = one_line_error(ask("profile", "mine", "--plugin", plugin, "--preset", tiny, "--out", tmp_path))
    assert "mine fails in its first step: ZeroDivisionError: nothing there" in line


def test_run_name_that_is_too_long_for_a_file(ask, tmp_path):
    assert "name too long" in one_line_error(ask("show", "x" * 5000)).lower()


def test_show_another_checkpoint(finished, ask):
    assert "digits, epoch 1, seeds: 2 " in ask("show", finished.folder, "--epoch", 1).stdout
    assert "it has 0, 1, 2" in one_line_error(ask("show", finished.folder, "--epoch", 7))
