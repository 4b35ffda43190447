"""A bash where Slurm's commands are: on this machine, or on a login node by ssh over one multiplexed connection."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from flashlink.batch.slurm import commands
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.options import Options
from flashlink.errors import SiteError

#: All that Slurm's commands, and so the jobs, get of the plugin's environment: it may hold secrets.
_ENVIRONMENT = ("HOME", "LOGNAME", "PATH", "SHELL", "SLURM_CONF", "SSH_AUTH_SOCK", "TMPDIR", "USER")

#: Seconds beyond those of the commands until a shell counts as hung, and for which an unused connection is kept.
_MARGIN, _PERSIST = 30, 300

_SSH = (
    "BatchMode=yes",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ControlMaster=auto",
    f"ControlPersist={_PERSIST}",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "LogLevel=ERROR",
)


class Connection:
    """Runs commands where Slurm's are.

    Attributes:
        where: That place in words.

    Args:
        options: Which shell; where to log in.
        held: A file that each shell keeps open, so that a lock on it lasts until the last one has ended, whatever
            becomes of this process.
        state: Folder that is this object's alone, private.
    """

    def __init__(self, options: Options, held: int, state: Path) -> None:
        self._held = held
        self._login = options.login
        self.where = f"the login node {options.login}" if options.login else "this machine"
        self._mark = state / "ssh"
        self._sockets = _make_sockets(self._mark) if options.login else None
        self._ssh = _ssh(options, self._sockets) if self._sockets else []
        self._shell = [*self._ssh, options.login, "bash"] if self._ssh else list(options.shell)

    def run(self, *asked: Command) -> list[Answer]:
        """Run commands in one shell, one after the other.

        Raises:
            SiteError: Transient: the shell could not be had, or did not answer for each of them.
        """
        return self._ask(commands.request(asked), len(asked), _MARGIN + sum(command.seconds for command in asked))

    def send(self, folder: str, packed: bytes, seconds: int) -> Answer:
        """Unpack a tar file into a folder there, which is made if missing.

        Raises:
            SiteError: Transient, as of `run`.
        """
        head = (commands.text("stage.sh") + folder).encode()
        (answer,) = self._ask(head + b"\0" + packed, 1, _MARGIN + seconds)
        return answer

    def _ask(self, request: bytes, count: int, limit: float) -> list[Answer]:
        said, errors, status = self._talk(request, limit)
        try:
            return commands.answers(said, count)
        except SiteError as error:
            why = " ".join(errors.decode("utf-8", "replace").split())[-300:]
            raise SiteError(f"{self.where}: {why or error} (exit status {status})", transient=True) from None

    def close(self) -> None:
        """End the connection."""
        if self._sockets is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run([*self._ssh, "-O", "exit", self._login], capture_output=True, check=False, timeout=10)
            _remove_sockets(self._mark)

    def _talk(self, request: bytes, limit: float) -> tuple[bytes, bytes, int]:
        # Errors go to a file: the ssh that stays for the next ones may keep a pipe open.
        with tempfile.TemporaryFile() as errors:
            try:
                process = self._start(errors)
            except OSError as error:
                raise SiteError(f"{self._shell[0]} cannot be run: {error.strerror}", transient=True) from error
            with process:
                try:
                    said, _ = process.communicate(request, limit)
                except subprocess.TimeoutExpired:
                    raise SiteError(f"{self.where} does not answer for {limit} s", transient=True) from None
                finally:
                    _end(process)
            errors.seek(0)
            return said, errors.read(), process.returncode

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        # Through a shell that waits, since ssh closes what it inherits.
        return subprocess.Popen(
            ["sh", "-c", '"$@"; exit "$?"', "flashlink", *self._shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(os.environ),
            pass_fds=[self._held],
            start_new_session=True,
        )


def _ssh(options: Options, sockets: Path) -> list[str]:
    settings = [word for setting in (*_SSH, f"ControlPath={sockets}/%C") for word in ("-o", setting)]
    return ["ssh", "-T", *options.ssh, *settings]


def _make_sockets(mark: Path) -> Path:
    """A folder for ssh's sockets, whose paths have 107 bytes at most; that of a process that was killed goes."""
    _remove_sockets(mark)
    made = Path(tempfile.mkdtemp(prefix="flashlink-ssh-"))
    mark.symlink_to(made)
    return made


def _remove_sockets(mark: Path) -> None:
    if mark.is_symlink():
        shutil.rmtree(mark.readlink(), ignore_errors=True)
        mark.unlink()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name in _ENVIRONMENT or name.startswith("LC_")}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a shell that did not end by itself."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
