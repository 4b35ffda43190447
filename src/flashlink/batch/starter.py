"""The process beside each job of the local batch system, as HTCondor's starter: runs the script and tells how it ended.

It is a program of its own, so that jobs and their wall times outlive the plugin, and needs nothing but Python's
standard library, so that it starts in milliseconds. `flashlink.batch.local` spawns it as the leader of a new session
with a record folder as its argument, which holds

- ``job.json``: what to run, written before the spawn;
- ``run.json``: who runs it (`Identity`). Made by a link, so of two starters for one job only one gets it and goes on;
- ``cancel.json``: the grace of the cancel, where it is not the job's own;
- ``exit.json``: how it ended, by rename.

SIGTERM to the starter cancels the job: SIGTERM to the script, SIGKILL after the grace, then to whatever is left of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

#: Between the end of the pod's grace, when a script kills its containers, and our SIGKILL to the script.
MARGIN_SECONDS = 10.0

#: What a script leaves in the background may take so long to clean up when the script itself was killed.
CLEANUP_SECONDS = 3.0

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, not mistaken for a later one of the same number.

    Attributes:
        pid: Process id.
        start: When it started, in clock ticks since the boot (`man 5 proc`, field 22 of ``stat``).
        boot: The kernel's boot id.
    """

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process with this id now; None if there is none, or if it has ended and only waits to be reaped."""
        fields = _stat(pid)
        if not fields or fields[0] in ("Z", "X"):
            return None
        return cls(pid, int(fields[19]), boot_id())

    def alive(self) -> bool:
        """Whether it still runs."""
        return Identity.of(self.pid) == self


@dataclass(frozen=True, slots=True)
class Exit:
    """How a script ended.

    Attributes:
        code: 0 to 255; 128+signal for a signal.
        signal: The signal that killed it, or 0.
        cause: "", "cancelled" or "walltime": why the starter ended it.
        ended: Seconds since the epoch.
    """

    code: int
    signal: int
    cause: str
    ended: float


def boot_id() -> str:
    """A name of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def write(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON so that a reader sees all of it or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content), "utf-8")
    part.rename(path)


def kill_remains(uid: str, session: int = 0) -> None:
    """Kill all processes that carry the mark ``FLASHLINK_POD=<uid>`` or are of a session; not the caller."""
    mark = _mark(uid)
    for _ in range(10):  # they may fork while we look
        found = [pid for pid in _processes() if _belongs(pid, mark, session)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _wait_for_remains(uid: str) -> None:
    """Give what outlived a killed script a moment to notice and to clean up."""
    due = time.monotonic() + CLEANUP_SECONDS
    while time.monotonic() < due and any(_belongs(pid, _mark(uid), os.getpid()) for pid in _processes()):
        time.sleep(0.05)


def _mark(uid: str) -> bytes:
    return b"FLASHLINK_POD=" + os.fsencode(uid)


def _processes() -> Iterator[int]:
    own = os.getpid()
    return (int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) != own)  # noqa: PTH208


def _belongs(pid: int, mark: bytes, session: int) -> bool:
    """Whether it lives and is of the session or carries the mark; most do not, so the cheapest look comes first."""
    try:
        if session and os.getsid(pid) == session:
            return Identity.of(pid) is not None
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as environment:  # noqa: PTH123 (a Path costs as much)
            return mark in environment.read().split(b"\0")  # a process that has ended has none
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` from the state on (the third); empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _claim(record: Path) -> bool:
    own = record / f"run.json.{os.getpid()}"
    identity = Identity.of(os.getpid())
    if identity is None:
        raise ProcessLookupError("/proc does not know this process")
    own.write_text(json.dumps({**asdict(identity), "started": time.time()}), "utf-8")
    try:
        os.link(own, record / "run.json")
    except FileExistsError:
        return False
    finally:
        own.unlink()
    return True


def _spawn(script: str, uid: str) -> int:
    caught = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    environment = {**os.environ, "FLASHLINK_POD": uid}
    return os.posix_spawnp("bash", ["bash", script], environment, setpgroup=0, setsigmask=[], setsigdef=caught)


def _supervise(pid: int, walltime: float, grace: Callable[[], float]) -> Exit:
    cause, due = "", time.monotonic() + (walltime or float("inf"))
    while True:
        came = _wait_for_signal(due - time.monotonic())
        reaped, status = os.waitpid(pid, os.WNOHANG)
        if reaped:
            return _exit(os.waitstatus_to_exitcode(status), cause)
        late = time.monotonic() >= due
        if cause and late:
            os.kill(pid, signal.SIGKILL)
            due = float("inf")
        elif not cause and (late or came not in (0, signal.SIGCHLD)):
            cause = "walltime" if late else "cancelled"
            os.killpg(pid, signal.SIGTERM)
            due = time.monotonic() + grace() + MARGIN_SECONDS


def _wait_for_signal(seconds: float) -> int:
    came = signal.sigtimedwait(_SIGNALS, min(max(seconds, 0.0), 86400.0))
    return came.si_signo if came else 0


def _grace(record: Path, own: float) -> float:
    """Seconds between SIGTERM and SIGKILL: the job's `own`, unless the cancel gave another."""
    try:
        return float(json.loads((record / "cancel.json").read_text("utf-8"))["grace"])
    except FileNotFoundError:
        return own


def _exit(code: int, cause: str) -> Exit:
    killed = -code if code < 0 else 0
    code = 128 + killed if killed else code
    if cause and code == 0:
        code = 128 + signal.SIGTERM  # what we had to end has not succeeded
    return Exit(code, killed, cause, time.time())


def main(record: Path) -> None:
    """Run the job of this record folder, if no other starter does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    job = json.loads((record / "job.json").read_text("utf-8"))
    if not _claim(record):
        return
    os.chdir(job["folder"])
    ended = _supervise(_spawn(job["script"], job["uid"]), job["walltime"], lambda: _grace(record, job["grace"]))
    if ended.signal:
        _wait_for_remains(job["uid"])
    kill_remains(job["uid"], session=os.getpid())
    write(record / "exit.json", asdict(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
