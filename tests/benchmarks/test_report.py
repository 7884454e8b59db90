"""What is said at the end of a run."""

import pytest

from benchmarks.report import COMPLAINTS, complain


@pytest.mark.parametrize(("count", "said"), [(COMPLAINTS, COMPLAINTS), (COMPLAINTS + 5, COMPLAINTS + 1)])
def test_ten_thousand_faults_are_not_ten_thousand_lines(capsys, count, said):
    complain([f"fault {i}" for i in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == said
    assert lines[0] == "fault 0"
    assert (lines[-1] == "... and 5 more of this kind") == (count > COMPLAINTS)
