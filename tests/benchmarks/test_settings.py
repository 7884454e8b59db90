"""Settings: what a preset may hold, and one clear line for everything else."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import settings
from benchmarks.errors import UserError

GOOD = 'dataset = "digits"\nseeds = 3\nepochs = 4\n'


@pytest.fixture
def preset(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("name", settings.names())
def test_every_preset_that_ships_is_valid(name):
    chosen = settings.load(name, {})
    assert chosen.seeds == tuple(range(len(chosen.seeds)))
    assert 0 in chosen.checkpoints


def test_default_and_quick_ship():
    assert {"default", "quick"} <= set(settings.names())
    default = settings.load("default", {})
    assert (default.dataset, default.epochs, len(default.seeds)) == ("mnist5k", 40, 5)
    assert default.checkpoints == (0, 1, 5, 15, 40)
    assert (default.batch_size, default.learning_rate) == (100, 1e-3)


def test_the_command_line_wins(preset):
    assert settings.load(preset(GOOD), {"epochs": 9, "seeds": "4,2"}).seeds == (4, 2)
    assert settings.load(preset(GOOD), {"epochs": 9}).epochs == 9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "epoch = 3\n", ["line 4", "key epoch", "no such setting", "epochs"]),
        (GOOD + "batch_size = 0\n", ["line 4", "key batch_size", "got 0"]),
        (GOOD + 'learning_rate = "fast"\n', ["line 4", "key learning_rate", "got 'fast'"]),
        (GOOD + "learning_rate = nan\n", ["line 4", "key learning_rate"]),
        (GOOD + "latent_dim = 2.5\n", ["line 4", "key latent_dim"]),
        (GOOD.replace("3", "0"), ["line 2", "key seeds", "0 seeds"]),
        (GOOD.replace("3", "[0, -1]"), ["line 2", "key seeds", "-1 is negative"]),
        (GOOD.replace("3", "[1, 1]"), ["line 2", "key seeds", "1 is repeated"]),
        (GOOD.replace("3", "true"), ["line 2", "key seeds"]),
        ("seeds = 3\nepochs = 4\n", ["key dataset", "missing"]),
        (GOOD + "epochs = \n", ["line 4", "mine.toml"]),
        (GOOD + "[device]\nx = 1\n", ["key device"]),
        (GOOD.replace("3", "[]"), ["line 2", "key seeds", "an empty list"]),
        (GOOD.replace("3", "5000000000"), ["line 2", "key seeds", "more than"]),
        (GOOD.replace("3", "1.5"), ["line 2", "key seeds", "neither a number of seeds nor a list"]),
        (GOOD.replace("epochs = 4", "epochs = " + "9" * 5000), ["mine.toml"]),
        (GOOD + "x = " + "[" * 3000, ["mine.toml"]),
        (GOOD + "checkpoints = 3\n", ["line 4", "key checkpoints", "valid list"]),
        (GOOD + "learning_rate = true\n", ["line 4", "key learning_rate"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
)
def test_a_malformed_preset_is_named_by_file_line_and_key(preset, text, words):
    with pytest.raises(UserError) as caught:
        settings.load(preset(text), {})
    for word in [*words, "mine.toml"]:
        assert word in str(caught.value)


def test_a_preset_that_is_not_there():
    with pytest.raises(UserError, match=r"can't read the preset .*nowhere.toml: No such file"):
        settings.load("/nowhere.toml", {})
    with pytest.raises(UserError, match="did you mean default"):
        settings.load("defualt", {})


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_preset_makes_a_traceback(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError):
        settings.load(str(path), {})


@given(st.text(max_size=20))
def test_seeds_are_distinct_and_none_negative_or_refused(text):
    with contextlib.suppress(UserError):
        seeds = settings.load("quick", {"seeds": text}).seeds
        assert seeds
        assert len(set(seeds)) == len(seeds)
        assert min(seeds) >= 0


def test_a_range_of_seeds():
    assert settings.load("quick", {"seeds": " 64-67"}).seeds == (64, 65, 66, 67)
    with pytest.raises(UserError, match="'9-5' is no range of 1 to 100000 seeds"):
        settings.load("quick", {"seeds": "9-5"})
