"""What is left of a pod when it is deleted: nothing, and nothing of anybody else's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashlink.plugin import submission


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(submission, "MEMORY", folder)
    return folder


def test_memory_that_a_killed_job_left_goes_with_the_pod(tmp_path: Path, memory: Path) -> None:
    (memory / "flashlink-uid" / "x").mkdir(parents=True)
    (memory / "flashlink-other").mkdir()
    (tmp_path / "uid").mkdir()
    submission.remove(tmp_path / "uid")
    assert [path.name for path in memory.iterdir()] == ["flashlink-other"]
    assert not (tmp_path / "uid").exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, memory: Path) -> None:
    (tmp_path / "precious").mkdir()
    (memory / "flashlink-uid").symlink_to(tmp_path / "precious")
    submission.remove(tmp_path / "uid")
    assert (tmp_path / "precious").exists()


def test_the_grace_is_a_line_that_the_runtime_reads(tmp_path: Path) -> None:
    submission.write_grace(tmp_path, 7)
    assert (tmp_path / "grace").read_text() == "7\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grace"]
