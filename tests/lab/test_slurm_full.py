"""A Slurm site whose folder for the jobs' files is full, where they travel by the login node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.clusters import Cluster, slurm
from lab.slurm_plugins import RemotePlugin

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture
def cluster(lab: Any, tmp_path: Path) -> Iterator[Cluster]:
    """With a file system of 4 MiB, which the daemons see as it is mounted before they start."""
    folder = tmp_path / "cluster"
    (folder / "small").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "none", folder / "small"], check=True)
    try:
        with slurm(folder, lab.user) as made, ExitStack() as stack:
            stack.callback(unmount, folder / "small")  # before the folder goes
            yield made
    finally:
        unmount(folder / "small")


def unmount(path: Path) -> None:
    if path.is_mount():
        subprocess.run(["umount", "-l", path], check=True)


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_pods_wait_for_room_and_those_that_run_go_on(lab: Any, cluster: Cluster, tmp_path: Path) -> None:
    small = cluster.folder / "small"
    folder = tmp_path / "plugin"
    folder.mkdir()
    options = {**cluster.login, "spool": str(small / "pods")}
    plugin = RemotePlugin(folder, 0, lab.images, {"system": "slurm", "poll_seconds": 1, "options": options})
    try:
        runs = plugin.send("while :; do date +%s; sleep 0.2; done")
        ends = plugin.send("sleep 15; exit 6")
        for pod in (runs, ends):
            pod.until(lambda state: "running" in state)
        fill(small / "fill")
        waits = plugin.prepare("echo hello; exit 4")
        with ThreadPoolExecutor(1) as threads:
            created = threads.submit(waits.create)
            state = waits.until(lambda state: "is full" in state.get("waiting", {}).get("message", ""))
            assert state["waiting"]["message"].endswith(
                "/small/pods of the site is full: No space left on device; make room"
            )
            assert ends.end()["exitCode"] == 6
            (small / "fill").unlink()
            freed = time.time()
            assert waits.end()["exitCode"] == 4
            created.result(60)
        assert waits.logs() == "hello\n"
        runs.until(lambda _: float(runs.logs().split()[-1]) > freed)
        assert "running" in runs.state()
        runs.delete(grace=0)
    finally:
        plugin.end()
