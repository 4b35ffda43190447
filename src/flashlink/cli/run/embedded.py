"""The site of a run: a plugin that is embedded in it, or one that runs elsewhere already."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from flashlink.cli.run.processes import end, last_lines, start
from flashlink.client.interlink import InterLink
from flashlink.errors import FlashlinkError, SiteError

_READY_SECONDS = 30.0
_RESTARTS = 5
_LONGEST_SOCKET = 100
_SOCKET = "plugin.sock"

Say = Callable[[str], None]


class RunSite(Protocol):
    """Where the pods of a run go.

    Attributes:
        name: The site's name, as the report shows it.
        endpoint: Of its plugin.
        advice: What to say when the site takes no pod of the run; "" where that cannot be told.
    """

    name: str
    endpoint: str
    advice: str

    def keep_alive(self) -> None:
        """Start the plugin again if it has died, with a word about it."""

    def restart(self) -> bool:
        """Start the plugin afresh, since it hangs; False if it is somebody else's."""

    def drain(self, seconds: float) -> bool:
        """Wait until deleted pods have left nothing behind; False if some still have."""

    def close(self) -> None:
        """End what was started for the run. Pods go on."""


class RemoteSite:
    """A plugin that runs already, wherever.

    Args:
        endpoint: Where it answers.
        advice: See `RunSite`.

    Raises:
        FlashlinkError: It does not answer, or this is no endpoint.
    """

    def __init__(self, endpoint: str, advice: str) -> None:
        self.name = "remote"
        self.endpoint = endpoint
        self.advice = advice
        with InterLink(endpoint, patience=10) as plugin:
            plugin.ping()

    def keep_alive(self) -> None:
        """Leave it to whoever runs the plugin; the executor has patience."""

    def restart(self) -> bool:
        """Leave it to whoever runs the plugin."""
        return False

    def drain(self, seconds: float) -> bool:  # noqa: ARG002
        """Trust the plugin: it has taken the deletions."""
        return True

    def close(self) -> None:
        """Leave the plugin alone."""


class EmbeddedSite:
    """A plugin of the run's own, on a unix socket that only this user can reach.

    Args:
        file: The site's file for ``flashlink plugin``.
        name: The site's name.
        folder: For socket, state and log of the plugin; 0700.
        work: Where it keeps the folders of its pods.
        say: Shows a line to the user.
    """

    advice = ""

    def __init__(self, file: Path, name: str, folder: Path, work: Path, say: Say) -> None:
        self.name = name
        self._socket = socket_path(folder)
        self.endpoint = f"unix:{self._socket}"
        self._log = folder / "plugin.log"
        self._work = work
        self._say = say
        self._folder = folder
        self._restarts = 0
        listen = ["--listen", self.endpoint, "--state", str(folder / "state"), "--config", str(file)]
        self._command = [sys.executable, "-m", "flashlink", "plugin", *listen]
        try:
            self._process = self._start()
        except SiteError:
            remove_socket(self._socket, folder)
            raise

    def keep_alive(self) -> None:
        """Start the plugin again on the same state if it has died; its pods have gone on meanwhile.

        Raises:
            SiteError: It dies again and again.
        """
        code = self._process.poll()
        if code is None:
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise SiteError(f"the plugin ended {self._restarts} times ({how}); see {self._log}")
        self._say(f"The plugin ended ({how}); it is started again, its pods go on.")
        self._process = self._start()

    def restart(self) -> bool:
        """End the plugin, by force if need be, and start it on the same state."""
        end(self._process, grace=1)
        self._process = self._start()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until the work folder holds no pod's folder any more."""
        deadline = time.monotonic() + seconds
        while self._work.exists() and any(self._work.iterdir()):
            if time.monotonic() > deadline:
                return False
            self.keep_alive()
            time.sleep(0.1)
        return True

    def close(self) -> None:
        """End the plugin; its pods, if any are left, go on."""
        end(self._process, grace=10)
        remove_socket(self._socket, self._folder)

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the plugin and wait until it answers."""
        deadline = time.monotonic() + _READY_SECONDS
        process = start(self._command, self._log, at_death=signal.SIGTERM)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                said = " ".join(last_lines(self._log, 1)) or f"exit code {process.returncode}"
                raise SiteError(f"the embedded plugin does not start: {said} (all of its log: {self._log})")
            try:
                with InterLink(self.endpoint, patience=5) as plugin:
                    plugin.ping()
            except SiteError:
                time.sleep(0.05)
            else:
                return process
        end(process, grace=1)
        raise SiteError(f"the embedded plugin did not answer in {_READY_SECONDS:g} s; see {self._log}")


def socket_path(folder: Path) -> Path:
    """A path for the plugin's socket: in `folder`, or in a private folder with a shorter name if that is too long.

    The same folder gives the same path, so that pods of a killed run are found where they were sent.

    Raises:
        FlashlinkError: The private folder belongs to someone else.
    """
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    shorter = f"flashlink-{os.getuid()}-{digest}"
    # The last one is for a TMPDIR that is too long as well; below it is seen to that the folder is nobody else's.
    places = (folder, Path(tempfile.gettempdir(), shorter), Path("/tmp", shorter))  # noqa: S108
    private = next(place for place in places if len(os.fsencode(place / _SOCKET)) <= _LONGEST_SOCKET)
    if private == folder:
        return folder / _SOCKET
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise FlashlinkError(f"{private}: belongs to someone else, or is open to others; remove it")
    return private / _SOCKET


def remove_socket(path: Path, folder: Path) -> None:
    """Remove the socket that `socket_path` chose for `folder`, and the private folder that was made for it."""
    path.unlink(missing_ok=True)
    if path.parent != folder:
        with suppress(OSError):  # somebody has tidied the folder of temporary files, or uses this one
            path.parent.rmdir()
