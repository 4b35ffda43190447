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
from pathlib import Path
from typing import Protocol

import msgspec
import yaml

from flashlink.cli.run.processes import end, last_lines, start
from flashlink.client.interlink import InterLink
from flashlink.errors import FlashlinkError, SiteError
from flashlink.site.config import Batch, Containers, Images, Site, Volumes
from flashlink.site.load import load
from flashlink.site.runtime import host_mode_notice, resolve

#: The image that pods of the main job name; a site says what stands behind it.
IMAGE = "flashlink"

_READY_SECONDS = 30.0
_RESTARTS = 5
_LONGEST_SOCKET = 100

Say = Callable[[str], None]


class RunSite(Protocol):
    """Where the pods of a run go."""

    name: str
    endpoint: str

    def keep_alive(self) -> None:
        """Start the plugin again if it has died, with a word about it."""

    def drain(self, seconds: float) -> bool:
        """Wait until deleted pods have left nothing behind; False if some still have."""

    def close(self) -> None:
        """End what was started for the run. Pods go on."""


class RemoteSite:
    """A plugin that runs already, wherever."""

    def __init__(self, endpoint: str) -> None:
        self.name = "remote"
        self.endpoint = endpoint
        with InterLink(endpoint, patience=10) as plugin:
            plugin.ping()

    def keep_alive(self) -> None:
        """Leave it to whoever runs the plugin; the executor has patience."""

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
        folder: For socket, state, work and log of the plugin; 0700.
        say: Shows a line to the user.
    """

    def __init__(self, file: Path, name: str, folder: Path, say: Say) -> None:
        self.name = name
        self._socket = socket_path(folder)
        self.endpoint = f"unix:{self._socket}"
        self._log = folder / "plugin.log"
        self._work = folder / "state" / "work"
        self._say = say
        self._restarts = 0
        listen = ["--listen", self.endpoint, "--state", str(folder / "state"), "--config", str(file)]
        self._command = [sys.executable, "-m", "flashlink", "plugin", *listen]
        self._process = self._start()

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
        self._socket.unlink(missing_ok=True)

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


def local_site(checkout: Path, output: Path, cores: int, say: Say) -> Site:
    """The embedded local site: this machine, Apptainer if it has it, only the folders that the run needs.

    Args:
        checkout: Folder of the workflow and of flashlink itself.
        output: Folder of the results.
        cores: How many cores jobs may fill.
        say: Shows a line to the user.
    """
    site = Site(
        batch=Batch(cpus=cores),
        containers=Containers(path=[str(Path(sys.executable).parent)]),
        volumes=Volumes(host_paths=sorted({str(checkout), str(output)})),
    )
    site = resolve(site)
    if notice := host_mode_notice(site):
        say(notice[0].upper() + notice[1:] + ".")
        return site
    image = built_image(checkout, say)
    return msgspec.structs.replace(site, images=Images(folders=[str(image.parent)], aliases={IMAGE: str(image)}))


def built_image(checkout: Path, say: Say) -> Path:
    """The SIF file in which pods run, built by ``deploy/images/build`` unless it stands already.

    Raises:
        SiteError: It cannot be built.
    """
    say("Pods run in containers; their image is looked up, or built (this takes minutes, once).")
    script = checkout / "deploy" / "images" / "build"
    built = subprocess.run([str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    lines = built.stdout.split("\n")
    path = Path(next((line for line in reversed(lines) if line), ""))
    if built.returncode != 0 or not path.is_file():
        raise SiteError(f"{script} built no image (exit code {built.returncode}); its messages stand above")
    return path


def open_site(choice: str, folder: Path, checkout: Path, output: Path, cores: int, say: Say) -> RunSite:
    """The site that ``--site`` names: ``local``, a site's file, or the endpoint of a running plugin.

    Raises:
        FlashlinkError: The file is wrong, or the plugin does not answer or start.
    """
    if choice.startswith(("http://", "https://", "unix:")):
        return RemoteSite(choice)
    if choice != "local":
        file = Path(choice).absolute()
        return EmbeddedSite(file, load(file).name, folder, say)
    site = local_site(checkout, output, cores, say)
    file = folder / "site.yaml"
    file.write_text(yaml.safe_dump(msgspec.to_builtins(site), sort_keys=False))
    return EmbeddedSite(file, site.name, folder, say)


def socket_path(folder: Path) -> Path:
    """A path for the plugin's socket: in `folder`, or in a private folder with a shorter name if that is too long.

    The same folder gives the same path, so that pods of a killed run are found where they were sent.

    Raises:
        FlashlinkError: The private folder belongs to someone else.
    """
    path = folder / "plugin.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"flashlink-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise FlashlinkError(f"{private}: belongs to someone else, or is open to others; remove it")
    return private / "plugin.sock"
