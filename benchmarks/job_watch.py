"""What a running job costs its node: processes, memory and CPU time of flashlink's own, without the container's.

A pod of one container that sleeps, and one that writes a line ten times a second, each with limits of memory and disk,
as host processes. CPU time is that of all processes of the job but the container's, over SECONDS, when the job has run
for long enough to be looked at less often (`pace` in the runtime).

Run: .venv/bin/python benchmarks/job_watch.py [SECONDS]
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path, PurePosixPath

from flashlink.jobscript.planning import plan
from flashlink.jobscript.script import render
from flashlink.pods.pod import Container, Pod, Resources
from flashlink.site.config import Containers, Site

SITE = Site(containers=Containers(runtime="host"))
LIMITS = Resources(memory=2**30, ephemeral_storage=2**30)
TICKS = os.sysconf("SC_CLK_TCK")

#: What the container does; each of its processes has this word in its command line.
MARK = "the-containers-own"
PODS = {"sleeps": f"exec sleep 1000 # {MARK}", "writes": f"while :; do echo line; sleep 0.1; done # {MARK}"}


def start(script: str, folder: Path) -> subprocess.Popen[bytes]:
    """The job of a pod whose container runs `script`."""
    container = Container("main", "", ("bash", "-c", script), limits=LIMITS)
    pod = Pod(str(uuid.uuid4()), "pod", "default", (container,), restart_policy="Never", grace=0)
    job = folder / "job.sh"
    job.write_text(render(plan(pod, SITE, PurePosixPath(folder))))
    with (folder / "job.log").open("wb") as log:
        return subprocess.Popen(["bash", job], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def own(session: int) -> list[Path]:
    """The job's processes but the container's: those are children of its first process, or that itself."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = stat(entry)
        if fields and int(fields[3]) == session:
            found[int(entry.name)] = int(fields[1])
    first = {pid for pid in found if MARK.encode() in read(Path(f"/proc/{pid}/cmdline")) or b"sleep" in comm(pid)}
    return [Path(f"/proc/{pid}") for pid, parent in found.items() if pid not in first and parent not in first]


def read(path: Path) -> bytes:
    """A file of a process; empty if that has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def comm(pid: int) -> bytes:
    """The name of a process."""
    return read(Path(f"/proc/{pid}/comm"))


def stat(process: Path) -> list[bytes]:
    """Fields of ``stat`` from the state on."""
    return read(process / "stat").rpartition(b")")[2].split()


def seconds(processes: list[Path]) -> float:
    """CPU time of processes and of the children that they have waited for."""
    return sum(sum(map(int, fields[11:15])) for process in processes if (fields := stat(process))) / TICKS


def memory(processes: list[Path]) -> float:
    """Proportional set size in MiB."""
    lines = [line for process in processes for line in read(process / "smaps_rollup").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(b"Pss:")) / 1024


def main() -> None:
    """Print one line a pod."""
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, bash {bash_version()}")
    for name, script in PODS.items():
        with tempfile.TemporaryDirectory(prefix="flashlink-watch-") as folder:
            job = start(script, Path(folder))
            time.sleep(12)
            processes = own(job.pid)
            before, began = seconds(processes), time.monotonic()
            time.sleep(duration)
            share = (seconds(processes) - before) / (time.monotonic() - began)
            print(f"{name}: {len(processes)} processes, {memory(processes):.1f} MiB, {share:.2%} of a core")
            job.send_signal(signal.SIGTERM)
            job.wait()


def bash_version() -> str:
    """Of the bash that runs the jobs."""
    return subprocess.check_output(["bash", "-c", "echo $BASH_VERSION"], text=True).strip()


if __name__ == "__main__":
    main()
