"""A worker of the cluster: its versions, and the files that it sends."""

import pytest

from benchmarks.common.errors import UserError
from benchmarks.execution.cluster import worker


def test_a_worker_that_does_not_name_a_version_is_refused():
    with pytest.raises(UserError, match="tcp://there has torch none, and this machine has 2"):
        worker.check_versions({"torch": "2"}, {}, "tcp://there")


def test_images_and_model_of_a_remote_cell_arrive_before_its_record(tmp_path):
    for name in ("a.json", "a.npz", "a.safetensors", "b.json"):
        (tmp_path / name).write_text(name)
    assert list(worker._take_files(tmp_path, "a")) == ["a.npz", "a.safetensors", "a.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
