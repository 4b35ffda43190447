"""The lab of real Apptainer, and pods that run in it as the job scripts that flashlink makes of them.

Needs root, which makes the root file system; without it every test here is skipped with `lab/up`'s line of why.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from flashlink.client import manifests
from flashlink.jobscript import journal
from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.parse import parse_create
from flashlink.site.config import Containers, Images, Site, Volumes
from lab.clusters import Cluster, slurm

CHECKOUT = Path(__file__).parents[2]
CANNOT = 3


@dataclass(frozen=True)
class Lab:
    """A standing lab: `images` by name, and the number of its plain user."""

    images: Mapping[str, Path]
    user: int

    @property
    def programs(self) -> list[str]:
        """Names of the programs in /usr/bin of the lab."""
        return [path.name for path in (self.root / "usr" / "bin").iterdir()]

    @property
    def root(self) -> Path:
        """Its root folder."""
        return Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab")) / "root"

    def command(self, *command: str | Path, bind: Sequence[Path] = ()) -> list[str]:
        """The argument vector that runs `command` in the lab as its plain user, with the folders `bind` in it."""
        options = [word for path in bind for word in ("--bind", str(path))]
        return [str(CHECKOUT / "lab" / "enter"), *options, *map(str, command)]

    def give(self, folder: Path) -> None:
        """Let the plain user own `folder`."""
        os.chown(folder, self.user, self.user)


@dataclass
class Job:
    """A pod that runs in the lab as a job script in `folder`, owned by the plain user, or has ended."""

    uid: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def events(self) -> list[journal.Event]:
        """What the journal says so far."""
        path = self.folder / "journal"
        return list(journal.parse(path.read_bytes())) if path.exists() else []

    def log(self, container: str = "main", instance: int = 0) -> bytes:
        """What the container wrote until now."""
        return _read(self.folder / "logs" / f"{container}.{instance}.log")

    def reason(self, container: str = "main", instance: int = 0) -> str:
        """Why flashlink could not start the container, or ended it; "" if it did neither."""
        return _read(self.folder / "logs" / f"{container}.{instance}.reason").decode()

    @property
    def job_log(self) -> str:
        """What the script itself wrote, for the operator."""
        return (self.folder / "job.log").read_text(errors="replace")

    def wait(self, seconds: float = 60) -> int:
        """The script's exit status; fails the test when it takes longer than `seconds`."""
        return self.process.wait(seconds)

    def until(self, condition: Callable[[Job], bool], seconds: float = 20) -> None:
        """Wait until `condition` holds; fails the test when it takes longer than `seconds`."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < end, f"waited {seconds} s in vain; the job's log: {self.job_log}"
            assert self.process.poll() is None or condition(self), f"the job has ended; its log: {self.job_log}"
            time.sleep(0.05)

    def until_clean(self, check: Callable[[Job], None], seconds: float = 20) -> None:
        """Wait until `check` holds of what a job that was killed has left; then check it for good."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                return check(self)
            except AssertionError:
                time.sleep(0.1)
        return check(self)

    def pids(self, words: str) -> list[int]:
        """Process ids on the machine of the job's processes whose command lines hold `words`."""
        mark = str(self.folder).encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            command = _read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace")
            if words in command and (_session(entry) == self.process.pid or mark in _read(entry / "mountinfo")):
                found.append(int(entry.name))
        return found

    def ends(self) -> dict[str, tuple[int, str]]:
        """Container to exit code and cause of its last instance."""
        return {event.container: (event.exit, event.cause) for event in self.events if isinstance(event, journal.Ended)}

    def processes(self) -> list[str]:
        """Command lines of all living processes that carry the pod's mark or are in the job's session.

        A zombie, which its parent is about to collect, has none.
        """
        mark = f"FLASHLINK_POD={self.uid}".encode()
        return [
            command.replace(b"\0", b" ").decode(errors="replace")
            for entry in Path("/proc").glob("[0-9]*")
            if (command := _read(entry / "cmdline"))
            if mark in _read(entry / "environ").split(b"\0") or _session(entry) == self.process.pid
        ]


@dataclass
class Pods:
    """Starts pods in the lab and ends what is left of them."""

    lab: Lab
    folder: Path
    jobs: list[Job] = field(default_factory=list)

    @property
    def site(self) -> Site:
        """A site with the lab's Apptainer that grants the lab's images and the folder ``shared``."""
        return Site(
            containers=Containers(runtime="apptainer", executable="/usr/bin/apptainer"),
            images=Images(
                aliases={name: str(path) for name, path in self.lab.images.items()}
                | {"rclone/rclone:latest": str(self.lab.images["rclone"])},
                folders=["/images", str(self.shared)],
            ),
            volumes=Volumes(host_paths=[str(self.shared)]),
        )

    @property
    def shared(self) -> Path:
        """A folder of the worker that pods may mount by hostPath."""
        folder = self.folder / "shared"
        if not folder.exists():
            folder.mkdir()
            self.lab.give(folder)
        return folder

    def path_without(self, *missing: str) -> str:
        """A PATH of all programs of the worker but these."""
        tools = self.shared / "bin"
        tools.mkdir()
        for program in set(self.lab.programs) - set(missing):
            (tools / program).symlink_to(f"/usr/bin/{program}")
        return str(tools)

    def start(
        self,
        spec: Mapping[str, Any],
        *objects: Mapping[str, Any],
        site: Site | None = None,
        annotations: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        job_script: str = "",
    ) -> Job:
        """Start a pod of `spec` that can refer to the config maps and secrets `objects`.

        Args:
            spec: Of the pod; restartPolicy is Never unless it says otherwise.
            objects: Config maps and secrets.
            site: Where it runs, unless at `site` of this.
            annotations: Of the pod.
            env: Variables of the worker, for the job script.
            job_script: What interLink's API server would have run in its place.
        """
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pod", "annotations": dict(annotations or {})},
            "spec": {"restartPolicy": "Never", **spec},
        }
        (request,) = manifests.requests([pod, *objects])
        request.jobScript = job_script
        parsed = parse_create(msgspec.json.encode(request))
        folder = self.folder / parsed.uid
        folder.mkdir(mode=0o700)
        self.lab.give(folder)
        script = folder / "job.sh"
        script.write_text(render(plan(parsed, site or self.site, PurePosixPath(folder))))
        script.chmod(0o700)
        os.chown(script, self.lab.user, self.lab.user)
        with (folder / "job.log").open("wb") as log:
            variables = [f"{name}={value}" for name, value in (env or {}).items()]
            command = self.lab.command("env", *variables, script, bind=[folder, self.shared])
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.jobs.append(Job(parsed.uid, folder, process))
        return self.jobs[-1]

    def run(self, spec: Mapping[str, Any], *objects: Mapping[str, Any], **more: Any) -> Job:
        """`start` a pod and wait for its end."""
        job = self.start(spec, *objects, **more)
        job.wait()
        return job

    def end(self) -> None:
        """Kill what still runs."""
        for job in self.jobs:
            if job.process.poll() is None:
                os.killpg(job.process.pid, signal.SIGTERM)
                try:
                    job.process.wait(5)
                except subprocess.TimeoutExpired:
                    os.killpg(job.process.pid, signal.SIGKILL)
                    job.process.wait()


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab; brought up if it does not stand, which takes about a minute."""
    up = subprocess.run([CHECKOUT / "lab" / "up"], capture_output=True, text=True, check=False)
    if up.returncode == CANNOT:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr
    images = {path.stem: path for path in map(Path, up.stdout.split())}
    user = subprocess.run([CHECKOUT / "lab" / "enter", "id", "-u"], capture_output=True, text=True, check=True)
    return Lab(images, int(user.stdout))


@pytest.fixture(scope="session")
def plain_slurm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm without accounting, which forgets ended jobs soon."""
    with slurm(tmp_path_factory.mktemp("slurm"), lab.user, ["--min-job-age", "2"]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def accounted_slurm(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm with slurmdbd, whose controller forgets ended jobs soon."""
    with slurm(tmp_path_factory.mktemp("slurm"), lab.user, ["--accounting", "--min-job-age", "2"]) as cluster:
        yield cluster


@pytest.fixture
def marks(cluster: Cluster) -> Path:
    """A folder of the module's `cluster` into which pods may write."""
    folder = cluster.work / f"marks-{time.time_ns()}"
    folder.mkdir()
    cluster.give(folder)
    return folder


@pytest.fixture
def pods(lab: Lab, tmp_path: Path) -> Iterator[Pods]:
    """Pods in the lab; what still runs at the end of the test is killed."""
    made = Pods(lab, tmp_path)
    yield made
    made.end()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a process that has ended, a container that has not started
        return b""


def _session(process: Path) -> int:
    """Session id of a process: the fourth field after its name, which ends with the last parenthesis."""
    fields = _read(process / "stat").rpartition(b")")[2].split()
    return int(fields[3]) if fields else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the conformance run, if it was part of this one."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    ran = {report.nodeid: report for report in reports if "::test_conformance[" in report.nodeid}
    if ran:
        terminalreporter.section("conformance")
    for nodeid, report in sorted(ran.items()):
        case = nodeid.partition("[")[2].rstrip("]")
        _, outline, seconds = dict(report.user_properties).get("conformance", ("", "", ""))
        terminalreporter.write_line(f"{case:28} {report.outcome:8} {outline:10} {seconds:>8}")
