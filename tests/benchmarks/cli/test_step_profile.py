"""The table of `profile`, from events with known times."""

from benchmarks.cli.step_profile import MIN_SHARE, _render_operations

EVENTS = [
    ("aten::addmm", 4.0, 3e-4),
    ("aten::relu", 2.0, 1e-4),
    ("aoti_torch_cpu_bmm_out", 1.0, 5e-4),
    ("graph_0_cpp_fused_add_mul_12", 1.0, 9e-5),
    ("aten::view", 30.0, 6e-6),
    ("aten::copy_", 2.0, 4e-6),
    ("aten::empty", 5.0, 0.0),
]


def test_operations_are_sorted_by_time_and_named():
    """Calls and microseconds of a step; what takes less than one per cent is summed in the last row."""
    assert MIN_SHARE == 0.01
    rows = [line.rsplit(None, 3) for line in _render_operations(EVENTS).splitlines()[2:]]
    assert rows == [
        ["matrix product (bmm)", "1.0", "500", "50.0%"],
        ["matrix product (addmm)", "4.0", "300", "30.0%"],
        ["relu", "2.0", "100", "10.0%"],
        ["compiled: add mul", "1.0", "90", "9.0%"],
        ["2 others", "32.0", "10", "1.0%"],
    ]
