"""Child processes that cannot outlive their purpose: each in its own session, with a signal for the parent's death."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1

#: Loaded here, since a child between fork and exec should do as little as it can.
_LIBC = ctypes.CDLL(None, use_errno=True)


def start(
    command: Sequence[str], log: Path, *, at_death: signal.Signals, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program, its output appended to a file.

    The session of its own keeps a terminal's Ctrl-C from it: whoever started it decides how it ends.

    Args:
        command: Program and arguments.
        log: File for standard output and error, made 0600.
        at_death: Signal that the kernel sends it when this process dies, however that happens.
        environment: Variables on top of this process' own.
    """
    parent = os.getpid()

    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, at_death)
        # A shell starts background jobs with SIGINT ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if os.getppid() != parent:
            os._exit(1)

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            preexec_fn=bind,
            env={**os.environ, **(environment or {})},
        )
    finally:
        os.close(descriptor)


def end(process: subprocess.Popen[bytes], grace: float) -> None:
    """End a process: SIGTERM, `grace` seconds, SIGKILL to all of its group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file, at most `count`, from its last 64 KiB; none if it is not there."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return file.read().decode(errors="replace").splitlines()[-count:]
