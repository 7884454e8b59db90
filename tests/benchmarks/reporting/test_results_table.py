"""Reading results.csv: text stays text, and invalid tables are refused."""

import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.reporting import results_table
from tests.benchmarks.synthetic_runs import make_results

BASE = make_results(seeds=range(20))


def test_protocol_id_of_digits_stays_text(tmp_path):
    for name in ("0123456789012345", "12345e6789012345"):
        rows = BASE.assign(protocol_id=name, schema_version=3)
        rows.to_csv(tmp_path / "results.csv", index=False)
        assert results_table.read_results(tmp_path / "results.csv")["protocol_id"].unique().tolist() == [name]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda t: t.assign(gradient_variance=-1.0), "line 2 has a variance below 0"),
        (lambda t: t.iloc[::-1], "line 3 comes after a later checkpoint of its cell"),
        (lambda t: t.assign(seed=t["seed"] + 0.5), "line 2 has a seed that is not a whole number"),
        (lambda t: pd.concat([t, t.assign(cell_id="x" + t["cell_id"])]), "repeats a seed under another cell_id"),
    ],
)
def test_invalid_table_is_refused(tmp_path, wrong, words):
    wrong(BASE).assign(schema_version=3).to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(UserError, match=words):
        results_table.read_results(tmp_path / "results.csv")
