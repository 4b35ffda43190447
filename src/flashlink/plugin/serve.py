"""The plugin as a process: its state, its address, its start and its end. Jobs go on when it ends."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from flashlink import batch
from flashlink.batch import BatchSystem
from flashlink.errors import SiteError
from flashlink.plugin.app import Routes, application
from flashlink.plugin.books import Books
from flashlink.plugin.door import Door
from flashlink.plugin.listener import Listener
from flashlink.plugin.listener import application as reporting
from flashlink.plugin.metrics import Metrics
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Pods
from flashlink.plugin.reconcile import Reconciler
from flashlink.plugin.reports import Reports
from flashlink.pods.quantity import size
from flashlink.site import listen
from flashlink.site.config import Site
from flashlink.site.load import state_folder, work_folder
from flashlink.site.runtime import host_mode_notice, resolve

#: Connections that may wait to be accepted: a thousand creates come at once.
BACKLOG = 2048

#: Files and sockets that the plugin may have open, where the system allows that many.
OPEN_FILES = 65536

#: interLink keeps idle connections for 120 s; a server that closed one earlier would make a request fail.
KEEP_ALIVE = 180

#: Seconds that the batch system gets to answer for the first time before requests are taken all the same.
PATIENCE = 5

#: Seconds for which one thread may keep the interpreter while another waits for it. Python's own 5 ms are many times
#: what the answer to a status takes, and it would wait so long at each turn while the reconciler sweeps.
TURN = 0.0005

#: Seconds that requests under way get when the plugin is stopped.
GRACE = 5

log = structlog.get_logger("flashlink.plugin")


def serve(site: Site, ready: Callable[[str], None]) -> None:
    """Serve a site until SIGTERM or SIGINT.

    Args:
        site: As configured.
        ready: Called with the endpoint when requests are taken.

    Raises:
        SiteError: The address or the state folder is in use, or the site cannot be served from this machine.
        RequestError: The address is none.
    """
    site = resolve(site)
    os.umask(0o077)  # whatever the plugin writes is for its own account
    _raise_open_files()
    sys.setswitchinterval(TURN)
    state = state_folder(site)
    with Books(state) as books, Door(listen.parse(site.listen)) as door:
        system = batch_system(site, state / "batch")
        pods = Pods(books, site, _private(work_folder(site)), system.name)
        metrics = Metrics(pods.records, site.name)
        patient = PatientBatch(system, metrics.batch_call)
        reports = Reports(site.reports, state) if site.reports.listen else None
        reconciler = Reconciler(pods, patient, site.batch.interval, reports)
        routes = Routes(pods, reconciler, patient, metrics)
        _warn(site, door)
        reconciler.start()
        reconciler.first_round.wait(PATIENCE)
        try:
            with Listener(reporting(reports, pods), site.reports) if reports else nullcontext():
                asyncio.run(_run(application(routes, metrics), routes, door, ready))
        finally:
            reconciler.stop()
    log.info("stopped", pods=len(pods))


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SiteError(
            f"{folder}: cannot hold the pods' folders: {error.strerror}; choose another work folder"
        ) from error
    return folder


def _raise_open_files() -> None:
    """A thousand creates at once are a thousand sockets; the usual soft limit is 1,024 open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))


def batch_system(site: Site, state: Path) -> BatchSystem:
    """The batch system of a site, which keeps its own records in the folder `state`."""
    chosen = site.batch
    memory = size(chosen.memory, "batch.memory") if chosen.memory else 0
    system: BatchSystem = batch.load(chosen.system)(
        state, cpus=chosen.cpus, memory=memory, pods=chosen.pods, options=chosen.options
    )
    return system


def _warn(site: Site, door: Door) -> None:
    if notice := host_mode_notice(site):
        log.warning(notice)
    if door.public:
        log.warning(
            "this address can be reached from other machines, and interLink's protocol has no authentication: "
            "whoever reaches it can run jobs here; listen on 127.0.0.1 or unix:PATH",
            listen=site.listen,
        )


async def _run(app: ASGIApp, routes: Routes, door: Door, ready: Callable[[str], None]) -> None:
    """Serve until a signal; followed logs end then, so that the end does not wait for them."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, routes.stopping.set)
    door.socket.listen(BACKLOG)
    ready(door.endpoint)
    await server.serve(sockets=[door.socket])


class _Server(uvicorn.Server):
    """Takes SIGTERM as a request to end, and not, as uvicorn would, to die of it again afterwards."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        """Called with the signal; a second SIGINT ends at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._stopping()
