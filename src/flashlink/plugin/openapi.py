"""The description of the plugin's routes, made from the very types that they read and write."""

from __future__ import annotations

from typing import Any

import msgspec

from flashlink import __version__
from flashlink.pods import schema, wire

_TYPES = (wire.CreateRequest, wire.CreateAnswer, wire.KnownPod, wire.PodStatus, wire.Ping, wire.LogRequest)
_REFERENCE = "#/components/schemas/{name}"

#: Statuses of errors, which every route answers with one sentence, and what each says.
_ERRORS = {
    "400": "The request is wrong",
    "404": "There is no such route",
    "405": "The route does not take this method",
    "413": "The body is too large",
    "422": "The site does not grant what the pod asks for",
    "503": "The batch system is out of reach; try again",
}


def describe() -> dict[str, Any]:
    """The OpenAPI 3.1 document. A GET with a body, which interLink sends, is noted there as what it is."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template=_REFERENCE)
    components["Pod"] = schema.pod()
    components["CreateRequest"]["properties"]["pod"] = _of("Pod")
    pods = {"type": "array", "items": _of("KnownPod")}
    create = {"anyOf": [_of("CreateRequest"), {"type": "array", "items": _of("CreateRequest"), "maxItems": 1}]}
    statuses = {"anyOf": [{"type": "array", "items": _of("PodStatus")}, _of("Ping")]}
    status = _operation("Status of pods; an empty list is a ping and gets the site's totals", pods, statuses)
    logs = _operation("What a container wrote", _of("LogRequest"), None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flashlink: an interLink plugin",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "interLink sends GET with a body; POST does the same. Only 200 is success.",
        },
        "paths": {
            "/create": {
                "post": _operation("Run a pod; the same pod again changes nothing", create, _of("CreateAnswer"))
            },
            "/delete": {"post": _operation("End and forget a pod; an unknown one is fine", _of("KnownPod"), None)},
            "/status": {"get": status, "post": status},
            "/getLogs": {"get": logs, "post": logs},
            "/healthz": {"get": _operation("The plugin is alive", None, None)},
            "/readyz": {"get": _operation("The batch system answers", None, None)},
            "/metrics": {"get": _operation("Figures for Prometheus", None, None)},
            "/version": {"get": _operation("Version of flashlink", None, {"type": "object"})},
            "/openapi.json": {"get": _operation("This description", None, {"type": "object"})},
        },
        "components": {"schemas": components},
    }


def _of(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=name)}


def _operation(summary: str, body: dict[str, Any] | None, answer: dict[str, Any] | None) -> dict[str, Any]:
    """One route: JSON in, and JSON, or plain text where no `answer` is given, out."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    done = {"description": "Done", "content": {"application/json": {"schema": answer}} if answer else text}
    errors = {
        code: {"description": f"{why}; one sentence says what to do", "content": text} for code, why in _ERRORS.items()
    }
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": done, **errors}}
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation
