"""Slurm in the lab, one cluster a test module."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashlink.batch.slurm import SlurmBatch

CHECKOUT = Path(__file__).parents[2]
SLURM = CHECKOUT / "lab" / "slurm"


@dataclass(frozen=True)
class Cluster:
    """A running Slurm: where it is, and how to reach it."""

    folder: Path
    user: int
    endpoints: dict[str, str]

    @property
    def work(self) -> Path:
        """The folder that workers and this process share, the plain user's."""
        return Path(self.endpoints["WORK"])

    @property
    def here(self) -> dict[str, Any]:
        """Options for a plugin on a machine of the cluster."""
        return {"shell": [self.endpoints["SHELL_COMMAND"]]}

    @property
    def login(self) -> dict[str, Any]:
        """Options for a plugin that reaches the login node by ssh."""
        known = f"UserKnownHostsFile={self.endpoints['LOGIN_KNOWN_HOSTS']}"
        key, port = self.endpoints["LOGIN_KEY"], self.endpoints["LOGIN_PORT"]
        return {"login": self.endpoints["LOGIN"], "ssh": ["-F", "none", "-p", port, "-i", key, "-o", known]}

    def rest(self, folder: Path) -> dict[str, Any]:
        """Options for a plugin that asks slurmrestd, with a token in `folder`; it shares the jobs' folders."""
        token = folder / "slurm-token"
        token.touch(mode=0o600)
        token.write_text(self.run("scontrol", "token", "lifespan=3600"))
        return {**self.here, "rest": self.endpoints["SLURMRESTD"], "token_file": str(token)}

    def open(self, state: Path, **options: Any) -> SlurmBatch:
        """The system under test."""
        return SlurmBatch(state, cpus=0, memory=0, pods=100, options=options or self.here)

    def run(self, *command: str) -> str:
        """What a command says on the cluster."""
        shell = [self.endpoints["SHELL_COMMAND"], "-c", '"$@"', "run", *command]
        return subprocess.run(shell, capture_output=True, text=True, check=True).stdout

    def stop(self, *daemons: str) -> None:
        """End daemons by name."""
        subprocess.run([SLURM / "daemons", "stop", self.folder, *daemons], check=True)

    def kill(self, daemon: str) -> None:
        """SIGKILL."""
        os.kill(int((self.folder / "run" / f"{daemon}.pid").read_text()), signal.SIGKILL)

    def fail_node(self) -> None:
        """SIGKILL to the node's daemon and to all that runs on it; Slurm is told at once, not after SlurmdTimeout."""
        subprocess.run([SLURM / "daemons", "kill_node", self.folder], check=True)
        root = [CHECKOUT / "lab" / "enter", "--root", "--bind", self.folder]
        down = ["scontrol", "update", "NodeName=worker", "State=DOWN", "Reason=power"]
        subprocess.run([*root, "env", f"SLURM_CONF={self.endpoints['SLURM_CONF']}", *down], check=True)

    def cut_login(self) -> None:
        """End the login node with all of its connections."""
        pid = (self.folder / "run" / "sshd.pid").read_text().strip()
        sessions = [int(child) for each in _children(pid) for child in (each, *_children(each))]
        self.stop("sshd")
        for session in sessions:
            with suppress(ProcessLookupError):
                os.kill(session, signal.SIGKILL)

    def start(self) -> None:
        """Start the daemons that do not run."""
        subprocess.run([SLURM / "start", self.folder], check=True, capture_output=True)

    def give(self, *paths: Path) -> None:
        """Let the plain user own files."""
        for path in paths:
            os.chown(path, self.user, self.user)


def _children(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@contextmanager
def slurm(folder: Path, user: int, options: Sequence[str] = ()) -> Iterator[Cluster]:
    """A cluster that ends with the block, and leaves nothing."""
    started = subprocess.run([SLURM / "start", *options, folder], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield Cluster(folder, user, dict(line.split("=", 1) for line in started.stdout.splitlines()))
    finally:
        subprocess.run([SLURM / "stop", "--remove", folder], check=True)
