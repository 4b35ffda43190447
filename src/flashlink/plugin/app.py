"""The routes of interLink's plugin protocol and those for operators: each parses, calls one function and answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flashlink import __version__
from flashlink.errors import FlashlinkError, RequestError, SiteError
from flashlink.plugin import errors, openapi
from flashlink.plugin.follow import ContainerLog
from flashlink.plugin.logs import wanted
from flashlink.plugin.metrics import Metrics
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Pods
from flashlink.plugin.reconcile import Reconciler
from flashlink.pods import wire

#: Largest body of a request: a pod with its config maps, and a status call over ten thousand pods.
LARGEST = 256 * 1024 * 1024

#: Seconds that a create waits for the job id; interLink itself would wait 120 s for the answer.
PATIENCE = 5.0

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode_pod = msgspec.json.Decoder(wire.KnownPod).decode
_decode_pods = msgspec.json.Decoder(list[wire.KnownPod]).decode
_decode_logs = msgspec.json.Decoder(wire.LogRequest).decode


class Routes:
    """The functions behind the routes.

    Args:
        pods: All known pods.
        reconciler: Knows the site's totals.
        batch: Knows whether the batch system answers.
        metrics: Figures for Prometheus.
    """

    def __init__(self, pods: Pods, reconciler: Reconciler, batch: PatientBatch, metrics: Metrics) -> None:
        self._pods = pods
        self._reconciler = reconciler
        self._batch = batch
        self._metrics = metrics
        #: Set when the server is to end: followed logs end too.
        self.stopping = asyncio.Event()

    async def create(self, request: Request) -> Response:
        """Take in a pod and answer with its job id, or, if that takes long, with what tells system and uid."""
        body = await _body(request)
        accepted = await run_in_threadpool(self._pods.create, body)
        record, job_id = await asyncio.shield(asyncio.wrap_future(accepted))
        done, _ = await asyncio.wait([asyncio.wrap_future(job_id)], timeout=PATIENCE)
        outcome = next(iter(done)).result() if done else ""
        if isinstance(outcome, Exception):
            await run_in_threadpool(self._pods.drop, record.uid)
            raise outcome
        return _json(wire.CreateAnswer(PodUID=record.uid, PodJID=outcome or self._pods.jid(record)))

    async def delete(self, request: Request) -> Response:
        """Note that a pod shall end."""
        pod = _decoded(_decode_pod, await _body(request), "a Kubernetes pod")
        deleted = await run_in_threadpool(self._pods.delete, pod)
        record = await asyncio.shield(asyncio.wrap_future(deleted))
        return PlainTextResponse("deleted\n" if record is None else "will be deleted\n")

    async def status(self, request: Request) -> Response:
        """Status of the pods in the list, from memory; of an empty list, the site's totals."""
        pods = _decoded(_decode_pods, await _body(request), "a list of Kubernetes pods")
        if not pods:
            return _json(self._ping())
        if len(pods) > 100:
            return _json(await run_in_threadpool(self._pods.status, pods))
        return _json(self._pods.status(pods))

    def _ping(self) -> wire.Ping:
        totals = self._reconciler.capacity
        if totals is None:
            why = self._batch.trouble or "it is being asked"
            raise SiteError(f"the batch system has not answered yet: {why}", transient=True)
        gpus = [wire.Accelerator("nvidia.com/gpu", str(totals.gpus))] if totals.gpus else []
        resources = wire.NodeResources(str(totals.cpus), str(totals.memory), str(totals.jobs), gpus)
        return wire.Ping(status="ok", resources=resources)

    async def logs(self, request: Request) -> Response:
        """What a container wrote."""
        asked = _decoded(_decode_logs, await _body(request), "a log request")
        window = wanted(asked.Opts, time.time())
        log = ContainerLog(self._pods, asked, window)
        return StreamingResponse(log.stream(self.stopping), media_type="text/plain; charset=utf-8")

    async def healthz(self, _: Request) -> Response:
        """The event loop turns."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """The batch system has answered, and its last call went well."""
        if self._batch.trouble or self._reconciler.capacity is None:
            return PlainTextResponse(f"{self._batch.trouble or 'the batch system has not answered yet'}\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, _: Request) -> Response:
        """Figures for Prometheus."""
        text = await run_in_threadpool(self._metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def version(self, _: Request) -> Response:
        """Which flashlink this is, and for which site."""
        return JSONResponse({"name": "flashlink", "version": __version__, "site": self._pods.site.name})

    async def openapi(self, _: Request) -> Response:
        """The description of these routes."""
        return JSONResponse(openapi.describe())


def application(routes: Routes, metrics: Metrics) -> ASGIApp:
    """The ASGI application."""
    app = Starlette(
        routes=[
            Route("/status", routes.status, methods=["GET", "POST"]),  # first, as they are tried in this order
            Route("/create", routes.create, methods=["POST"]),
            Route("/delete", routes.delete, methods=["POST"]),
            Route("/getLogs", routes.logs, methods=["GET", "POST"]),
            Route("/healthz", routes.healthz),
            Route("/readyz", routes.readyz),
            Route("/metrics", routes.metrics),
            Route("/version", routes.version),
            Route("/openapi.json", routes.openapi),
        ],
        exception_handlers={FlashlinkError: errors.answer, HTTPException: errors.answer, Exception: errors.answer},
    )
    app.router.redirect_slashes = False  # interLink follows no redirect with its body
    return Measured(app, metrics)


class Measured:
    """Counts each request and its time to the first byte of the answer.

    Args:
        app: What answers.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._known = {"/create", "/delete", "/status", "/getLogs"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope["path"] if scope["path"] in self._known else "other"
                self._metrics.request(route, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, noted)


async def _body(request: Request) -> bytes:
    """The whole body; refused if it is too large, or sent by the page of a browser.

    The protocol has no authentication, so any page that an operator opens could else send pods to this machine.
    """
    if "origin" in request.headers:
        raise RequestError("this is a service for interLink and the command line; pages of a browser may not use it")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise errors.BodyTooLargeError(
                f"{request.url.path}: the body is larger than {LARGEST} bytes; send less at once"
            )
    return bytes(body)


def _decoded(decode: Callable[[bytes], T], body: bytes, expected: str) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"body: not {expected} in JSON: {error}") from error


def _json(answer: object) -> Response:
    return Response(_encode(answer), media_type="application/json")
