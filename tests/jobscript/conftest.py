"""Pods that really run: planned, rendered, and given to bash as host processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from flashlink.jobscript import journal
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.pod import Container, Pod
from flashlink.site.config import Containers, Site

HOST = Site(containers=Containers(runtime="host"))


@dataclass
class Job:
    """A pod's script as a process of this machine."""

    pod: Pod
    folder: Path
    process: subprocess.Popen[bytes]

    def wait(self, seconds: float = 20) -> int:
        return self.process.wait(seconds)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def events(self) -> list[journal.Event]:
        path = self.folder / "journal"
        return journal.parse(path.read_bytes()) if path.exists() else []

    def ended(self, container: str) -> list[journal.Ended]:
        return [event for event in self.events if isinstance(event, journal.Ended) and event.container == container]

    def log(self, container: str, instance: int = 0) -> bytes:
        return (self.folder / "logs" / f"{container}.{instance}.log").read_bytes()

    def reason(self, container: str, instance: int = 0) -> str:
        return (self.folder / "logs" / f"{container}.{instance}.reason").read_text()

    @property
    def complaints(self) -> str:
        return (self.folder / "job.log").read_text()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, f"it did not happen; {self.complaints}"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """All that carry the pod's mark."""
        mark = f"FLASHLINK_POD={self.pod.uid}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in entry.read_bytes().split(b"\0"):
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found


Start = Callable[..., Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(container, ..., init=(), volumes={}, site=HOST, **of_the_pod)`` gives a running `Job`."""
    jobs: list[Job] = []

    def launch(
        *containers: Container,
        init: tuple[Container, ...] = (),
        site: Site = HOST,
        environment: dict[str, str] | None = None,
        within: Path = tmp_path,
        as_user: int | None = None,
        prefix: Sequence[str] = (),
        **more: object,
    ) -> Job:
        uid = f"{os.getpid()}-{len(jobs)}-{time.monotonic_ns()}"
        fields = {"restart_policy": "Never", "grace": 5, **more}
        pod = Pod(uid, "pod", "default", containers, init, **fields)  # type: ignore[arg-type]
        folder = within / uid
        folder.mkdir(mode=0o700)
        script = folder / "job.sh"
        script.write_text(render(plan(pod, site, PurePosixPath(folder))))
        if as_user is not None:
            os.chown(folder, as_user, as_user)
        with (folder / "job.log").open("wb") as log:
            process = subprocess.Popen(
                [*prefix, "bash", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=as_user,
                group=as_user,
                extra_groups=None if as_user is None else [],
                env={"PATH": os.environ["PATH"], "SECRET_OF_THE_JOB": "leak", **(environment or {})},
            )
        jobs.append(Job(pod, folder, process))
        return jobs[-1]

    yield launch
    for job in jobs:
        if job.process.poll() is None:
            job.process.kill()
            job.process.wait()
        for pid in job.processes():
            os.kill(pid, signal.SIGKILL)
