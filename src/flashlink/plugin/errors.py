"""The one place where an error becomes an answer: interLink shows the body to the user, so it is one plain sentence."""

from __future__ import annotations

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from flashlink.errors import FlashlinkError, RequestError, SiteError

log = structlog.get_logger("flashlink.plugin")


class BodyTooLargeError(RequestError):
    """The body of a request is larger than the plugin takes."""


def status_code(error: Exception) -> int:
    """400 for a wrong request, 413 for a large one, 503 or 422 for a site that cannot now or will not, else 500."""
    match error:
        case BodyTooLargeError():
            return 413
        case RequestError():
            return 400
        case SiteError():
            return 503 if error.transient else 422
        case HTTPException():
            return error.status_code
    return 500


async def answer(request: Request, error: Exception) -> Response:
    """The answer to a request that raised `error`; what flashlink did not foresee goes to the log, not to the user."""
    code = status_code(error)
    if isinstance(error, FlashlinkError):
        line = " ".join(str(error).split())
    elif isinstance(error, HTTPException):
        line = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json for what this plugin serves"
    else:
        line = "flashlink failed on this request by a defect of its own; the plugin's log tells more"
        log.error("request failed", path=request.url.path, exc_info=error)
    return PlainTextResponse(line + "\n", code)
