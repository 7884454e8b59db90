"""Messages at the end of a run."""

import pytest

from benchmarks.reporting.report import MAX_LINES, print_limited


@pytest.mark.parametrize(("count", "line_count"), [(MAX_LINES, MAX_LINES), (MAX_LINES + 5, MAX_LINES + 1)])
def test_only_the_first_messages_are_printed(capsys, count, line_count):
    print_limited([f"fault {i}" for i in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == line_count
    assert lines[0] == "fault 0"
    assert (lines[-1] == "... and 5 more of this kind") == (count > MAX_LINES)
