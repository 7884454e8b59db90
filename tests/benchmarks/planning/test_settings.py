"""Settings: presets, options, and errors of one line for malformed values."""

import contextlib
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.errors import UserError
from benchmarks.planning import settings
from vaezoo import evaluate

GOOD = 'dataset = "digits"\nseeds = 3\nepochs = 4\n'


@pytest.fixture
def preset(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("name", settings.list_presets())
def test_every_preset_is_valid(name):
    chosen = settings.load_settings(name, {})
    assert chosen.seeds == tuple(range(len(chosen.seeds)))
    assert 0 in chosen.checkpoints


def test_default_preset():
    assert {"default", "quick"} <= set(settings.list_presets())
    default = settings.load_settings("default", {})
    assert (default.dataset, default.epochs, len(default.seeds)) == ("mnist5k", 40, 5)
    assert default.checkpoints == (0, 1, 5, 15, 40)
    assert (default.batch_size, default.learning_rate) == (100, 1e-3)


def test_options_replace_settings_of_the_preset(preset):
    assert settings.load_settings(preset(GOOD), {"epochs": 9, "seeds": "4,2"}).seeds == (4, 2)
    assert settings.load_settings(preset(GOOD), {"epochs": 9}).epochs == 9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "epoch = 3\n", ["line 4", "key epoch", "unknown setting", "epochs"]),
        (GOOD + "batch_size = 0\n", ["line 4", "key batch_size", "got 0"]),
        (GOOD + 'learning_rate = "fast"\n', ["line 4", "key learning_rate", "got 'fast'"]),
        (GOOD + "learning_rate = nan\n", ["line 4", "key learning_rate"]),
        (GOOD + "latent_dim = 2.5\n", ["line 4", "key latent_dim"]),
        (GOOD.replace("3", "0"), ["line 2", "key seeds", "the number of seeds is 0"]),
        (GOOD.replace("3", "[0, -1]"), ["line 2", "key seeds", "seed -1 is negative"]),
        (GOOD.replace("3", "[1, 1]"), ["line 2", "key seeds", "seed 1 is repeated"]),
        (GOOD.replace("3", "true"), ["line 2", "key seeds"]),
        ("seeds = 3\nepochs = 4\n", ["key dataset", "missing"]),
        (GOOD + "epochs = \n", ["line 4", "mine.toml"]),
        (GOOD + "[device]\nx = 1\n", ["key device"]),
        (GOOD.replace("3", "[]"), ["line 2", "key seeds", "the list of seeds is empty"]),
        (GOOD.replace("3", "5000000000"), ["line 2", "key seeds", "at most 100000 seeds, got 5000000000"]),
        (GOOD.replace("3", "1.5"), ["line 2", "key seeds", "neither a number of seeds nor a list"]),
        (GOOD.replace("epochs = 4", "epochs = " + "9" * 5000), ["mine.toml"]),
        (GOOD + "x = " + "[" * 3000, ["mine.toml"]),
        (GOOD + "checkpoints = 3\n", ["line 4", "key checkpoints", "valid list"]),
        (GOOD + "learning_rate = true\n", ["line 4", "key learning_rate"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
)
def test_error_of_a_malformed_preset_has_file_line_and_key(preset, text, words):
    with pytest.raises(UserError) as caught:
        settings.load_settings(preset(text), {})
    for word in [*words, "mine.toml"]:
        assert word in str(caught.value)


def test_missing_preset():
    with pytest.raises(UserError, match=r"can't read the preset .*nowhere.toml: No such file"):
        settings.load_settings("/nowhere.toml", {})
    with pytest.raises(UserError, match="did you mean default"):
        settings.load_settings("defualt", {})


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_random_presets_are_user_errors(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError):
        settings.load_settings(str(path), {})


@given(st.text(max_size=20))
def test_random_seed_texts_give_valid_seeds_or_a_user_error(text):
    with contextlib.suppress(UserError):
        seeds = settings.load_settings("quick", {"seeds": text}).seeds
        assert seeds
        assert len(set(seeds)) == len(seeds)
        assert min(seeds) >= 0


def test_a_range_of_seeds():
    assert settings.load_settings("quick", {"seeds": " 64-67"}).seeds == (64, 65, 66, 67)
    with pytest.raises(UserError, match="'9-5' is not a range of 1 to 100000 seeds"):
        settings.load_settings("quick", {"seeds": "9-5"})


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "draws"])
def test_an_option_of_0_is_refused_and_not_ignored(name):
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')}: .*, got 0"):
        settings.load_settings("quick", {name: 0})


def test_draws_of_the_evaluation_are_those_of_the_library():
    fields, parameters = settings.Settings.model_fields, inspect.signature(evaluate).parameters
    assert fields["evaluation_draws"].default == parameters["draws"].default == 16
    assert fields["log_likelihood_draws"].default == parameters["log_likelihood_draws"].default == 100
