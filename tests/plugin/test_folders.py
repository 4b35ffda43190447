"""What is left of a pod when it is deleted: nothing, and nothing of anybody else's is touched."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashlink.plugin import folders


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(folders, "MEMORY", folder)
    return folder


def test_memory_that_a_killed_job_left_goes_with_the_pod(tmp_path: Path, memory: Path) -> None:
    (memory / "flashlink-uid" / "x").mkdir(parents=True)
    (memory / "flashlink-other").mkdir()
    (tmp_path / "uid").mkdir()
    folders.remove(tmp_path / "uid")
    assert [path.name for path in memory.iterdir()] == ["flashlink-other"]
    assert not (tmp_path / "uid").exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, memory: Path) -> None:
    (tmp_path / "precious").mkdir()
    (memory / "flashlink-uid").symlink_to(tmp_path / "precious")
    folders.remove(tmp_path / "uid")
    assert (tmp_path / "precious").exists()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A pod's folder in which a killed job has left something mounted, and what is mounted there."""
    precious = tmp_path / "precious"
    point = tmp_path / "uid" / "fuse" / "my volume"
    precious.mkdir()
    (precious / "data").write_text("data")
    point.mkdir(parents=True)
    bound = subprocess.run(["mount", "--bind", precious, point], capture_output=True, text=True, check=False)
    if bound.returncode != 0:
        pytest.skip(f"this user cannot mount here: {bound.stderr.strip()}")
    yield tmp_path / "uid", precious
    subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def test_what_is_mounted_in_a_folder_outlives_it(mounted: tuple[Path, Path]) -> None:
    folder, precious = mounted
    assert folders.mounted(folder) == [os.fsencode(folder / "fuse" / "my volume")]
    folders.remove(folder)
    assert not folder.exists()
    assert (precious / "data").read_text() == "data"


def test_a_folder_stays_as_long_as_something_is_mounted_in_it(
    mounted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, precious = mounted
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(OSError, match="a job has left a file system mounted there; unmount it") as caught:
        folders.remove(folder)
    assert caught.value.errno == errno.EBUSY
    assert (precious / "data").read_text() == "data"
    assert folder.exists()
