"""The address at which jobs report (docs/decisions/006): one route over HTTPS, apart from interLink's.

It is served in a thread of its own, so that status calls do not wait for reports.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from flashlink.errors import FlashlinkError, RequestError, SiteError
from flashlink.plugin import errors
from flashlink.plugin.door import Door
from flashlink.plugin.mirror import pieces
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record
from flashlink.plugin.reports import Reports
from flashlink.site import listen
from flashlink.site.config import Reports as Settings

#: Most bytes of one report; the job script sends half of it.
LARGEST = 2 * 1024 * 1024

#: Seconds between two looks at whether the certificate was renewed.
RENEWAL = 60

#: Reports that may wait to be accepted: ten thousand jobs report every few seconds.
BACKLOG = 2048

T = TypeVar("T")

_RUN = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)

log = structlog.get_logger("flashlink.plugin")


def application(reports: Reports, pods: Pods) -> Starlette:
    """The ASGI application of the address that workers reach."""
    # One thread writes all reports, so that two of one pod never mix.
    writer = ThreadPoolExecutor(1, "reports")

    async def report(request: Request) -> Response:
        """Add to the files of one pod; the answer tells how much of each is here."""
        uid = request.path_params["uid"]
        if not reports.admits(uid, request.headers.get("authorization", "")):
            raise HTTPException(401, "this is not the token of the job")
        record, run = _reporting(pods.get(uid)), _run(request.headers.get("flashlink-run", ""))
        given = pieces(await _body(request), (*record.pod.init_containers, *record.pod.containers))
        try:
            mirror = reports.mirror(pods.folder(uid))
            sizes = await _in(writer, lambda: mirror.add(run, given))
        except OSError as error:
            raise SiteError(f"the report cannot be kept: {error.strerror}; it is sent again", transient=True) from error
        return PlainTextResponse("".join(f"{count} {name}\n" for name, count in sizes.items()) + "\n")

    handlers = {FlashlinkError: errors.answer, HTTPException: errors.answer, Exception: errors.answer}
    return Starlette(routes=[Route("/reports/{uid}", report, methods=["POST"])], exception_handlers=handlers)


def _reporting(record: Record | None) -> Record:
    if record is None or record.final or record.deleted is not None:
        raise HTTPException(410, "the pod has ended or was deleted; nothing more is taken of it")
    return record


def _run(text: str) -> float:
    if not _RUN.fullmatch(text):
        raise RequestError("report: the header Flashlink-Run is missing or no time; is it a job of this flashlink?")
    return float(text)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise errors.BodyTooLargeError(f"report: larger than {LARGEST} bytes; send less at once")
    return bytes(body)


async def _in(executor: Executor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, call)


class Listener:
    """Serves `app` from ``with`` to the end of it.

    Args:
        app: What takes the reports.
        settings: The site's, with an address to listen at.

    Raises:
        SiteError: The address cannot be had, or the certificate or its key cannot be read.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._certificate = Path(settings.certificate), Path(settings.key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._loaded = self._version()
        self._load()
        self._door = Door(listen.parse(settings.listen, "reports.listen"))
        self._door.socket.listen(BACKLOG)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=1,
                timeout_notify=RENEWAL,
                callback_notify=self._renew,
                ssl_context_factory=lambda *_: self._context,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._door.socket],), name="reports")

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("takes reports of jobs", listen=self._door.endpoint.replace("http://", "https://"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._door.socket.close()

    async def _renew(self) -> None:
        """Take a certificate that somebody has renewed; one that cannot be read leaves the old one in place."""
        try:
            version = self._version()
            if version != self._loaded:
                self._load()
                self._loaded = version
                log.info("certificate read again", file=str(self._certificate[0]))
        except SiteError as error:
            log.warning("certificate not read", error=str(error))

    def _version(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._certificate)
        except OSError as error:
            raise SiteError(f"reports: {error.filename}: {error.strerror}; give the certificate and its key") from error

    def _load(self) -> None:
        try:
            self._context.load_cert_chain(*self._certificate)
        except (OSError, ssl.SSLError) as error:
            raise SiteError(
                f"reports.certificate: {self._certificate[0]} and its key cannot be used: {error}; both are PEM files"
            ) from error
