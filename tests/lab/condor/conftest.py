"""The lab's HTCondor: a site's pool whose schedd takes an IDTOKEN, and a CE that takes SciTokens."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flashlink.batch.htcondor import HTCondorBatch
from lab.condor.plugins import Plugin

CHECKOUT = Path(__file__).parents[3]
SCOPES = "condor:/READ condor:/WRITE compute.read compute.modify compute.create compute.cancel"


@dataclass(frozen=True)
class Condor:
    """HTCondor as it runs in the lab: what ``lab/condor/start`` prints, and the number of the plain user.

    Attributes:
        keys: Folder of the issuer's keys and of tokens.
        shared: Seen by jobs at the same path.
        home: Files of the daemons.
    """

    pool: str
    schedd: str
    idtoken: Path
    ce: str
    ce_schedd: str
    issuer: str
    ca: Path
    shared: Path
    home: Path
    user: int

    @property
    def inside(self) -> Path:
        """Files of the daemons, as these see them."""
        return Path("/", *self.home.parts[-3:])

    def token(self, lifetime: int = 1200) -> str:
        """A SciToken for the CE."""
        form = {
            "grant_type": "client_credentials",
            "client_id": "flashlink",
            "client_secret": "lab",
            "audience": f"https://{self.ce}",
            "scope": SCOPES,
            "lifetime": lifetime,
        }
        answer = httpx.post(f"{self.issuer}/token", data=form, verify=ssl.create_default_context(cafile=self.ca))
        return str(answer.raise_for_status().json()["access_token"])

    def site_options(self, folder: Path, **more: Any) -> dict[str, Any]:
        """Options for the schedd of the pool, reached with the IDTOKEN of the plain user."""
        tokens = folder / "tokens.d"
        tokens.mkdir(mode=0o700, exist_ok=True)
        write_private(tokens / "lab", self.idtoken.read_text())
        return {
            "pool": f"<{self.pool}?alias=localhost>",
            "schedd": self.schedd,
            "authentication": ["IDTOKENS"],
            "token_directory": str(tokens),
            **more,
        }

    def ce_options(self, folder: Path, **more: Any) -> dict[str, Any]:
        """Options for the CE, with a SciToken in a file."""
        write_private(folder / "scitoken", self.token())
        return {
            "pool": f"<{self.ce}?alias=localhost>",
            "schedd": self.ce_schedd,
            "spool": True,
            "authentication": ["SCITOKENS"],
            "ca_file": str(self.ca),
            "token_file": str(folder / "scitoken"),
            **more,
        }

    def run(self, which: str, *command: str) -> str:
        """Run one of HTCondor's own commands as root in the lab, for the "site" or the "ce"."""
        configuration = f"CONDOR_CONFIG={self.inside}/{which}/condor_config"
        enter = [str(CHECKOUT / "lab" / "enter"), "--root", "env", configuration, *command]
        ended = subprocess.run(enter, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def pids(self, which: str, *daemons: str) -> list[int]:
        """Process ids of daemons of the "site" or the "ce" of this lab; there may be others on the machine."""
        mark = f"CONDOR_CONFIG={self.inside}/{which}/condor_config".encode()
        root = self.home.parents[2]
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                name = (entry / "comm").read_text().strip()
                ours = name.removeprefix("condor_") in daemons and root.samefile(entry / "root")
                if ours and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


@contextmanager
def running(lab: Any, name: str) -> Iterator[Condor]:
    """An HTCondor of the lab; ended by the last of the processes that test with it, unless it ran before."""
    place = Path(os.environ.get("FLASHLINK_LAB", CHECKOUT / ".lab"))
    environment = {**os.environ, "FLASHLINK_CONDOR": name}
    ran = (place / f"root/var/lib/condor{name and f'-{name}'}/keeper.pid").exists()
    with (place / f"condor-users{name}").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        start = [CHECKOUT / "lab/condor/start"]
        started = subprocess.run(start, env=environment, capture_output=True, text=True, check=False)
        assert started.returncode == 0, started.stderr
        told = dict(line.split("=", 1) for line in started.stdout.splitlines())
        paths = {name: Path(told[name]) for name in ("idtoken", "ca", "shared", "home")}
        yield Condor(**{**told, **paths}, user=lab.user)
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not ran:
            subprocess.run([CHECKOUT / "lab/condor/stop"], env=environment, check=True)


@pytest.fixture(scope="session")
def condors(lab: Any) -> Iterator[Callable[[str], Condor]]:
    """HTCondors of the lab, by their names."""
    with ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(running(lab, name)))


@pytest.fixture(scope="module")
def condor(request: pytest.FixtureRequest, condors: Callable[[str], Condor]) -> Condor:
    """HTCondor in the lab; a module that kills its daemons names one of its own in ``HTCONDOR``."""
    return condors(getattr(request.module, "HTCONDOR", ""))


@pytest.fixture
def shared(condor: Condor, request: Any) -> Iterator[Path]:
    """A folder for the jobs of one test, which workers see at the same path; it belongs to the plain user."""
    folder = condor.shared / f"{request.node.name[:40]}-{os.getpid()}-{time.time_ns()}"
    folder.mkdir(mode=0o755)
    os.chown(folder, condor.user, condor.user)
    yield folder
    shutil.rmtree(folder)


Open = Callable[..., HTCondorBatch]


@pytest.fixture
def opened(condor: Condor, tmp_path: Path) -> Iterator[Open]:
    """Opens batch systems and closes them at the end of the test: ``opened("ce", **options)``."""
    systems: list[HTCondorBatch] = []

    def open_system(which: str, **more: Any) -> HTCondorBatch:
        options = condor.site_options(tmp_path, **more) if which == "site" else condor.ce_options(tmp_path, **more)
        told = {"cpus": 16, "memory": 32 * 2**30} if which == "ce" else {"cpus": 0, "memory": 0}
        system = HTCondorBatch(tmp_path / f"state-{len(systems)}", pods=1000, options=options, **told)
        systems.append(system)
        return system

    yield open_system
    for system in systems:
        system.close()


@pytest.fixture
def start(lab: Any, condor: Condor, shared: Path) -> Iterator[Callable[..., Plugin]]:
    """``start("site" or "ce", **options)`` gives a plugin whose pods may write into the folder ``marks``."""
    plugins: list[Plugin] = []
    (shared / "marks").mkdir()
    lab.give(shared / "marks")

    def launch(which: str, within: Sequence[str] = (), tables: Mapping[str, Any] = {}, **options: Any) -> Plugin:
        folder = shared / which
        folder.mkdir(exist_ok=True)
        given = condor.ce_options if which == "ce" else condor.site_options
        batch = {"options": given(folder, **options), **({"cpus": 16, "memory": "32Gi"} if which == "ce" else {})}
        marks = [str(shared / "marks")]
        plugins.append(Plugin(folder, lab.user, lab.images, batch, marks, within, **tables))
        return plugins[-1]

    yield launch
    for plugin in plugins:
        plugin.end()


@pytest.fixture
def socket_folder(lab: Any) -> Iterator[Path]:
    """Of the plain user, with a path that is short enough for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="flashlink-") as folder:
        lab.give(Path(folder))
        yield Path(folder)
