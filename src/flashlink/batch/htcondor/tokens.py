"""Tokens for a schedd: from a file that somebody else renews, or from an OpenID provider.

No token or secret is ever in a message, an argument or a log; what is kept on disk is of mode 0600.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from flashlink.batch.htcondor.options import OpenID, Options
from flashlink.batch.htcondor.states import is_number, one_line
from flashlink.errors import SiteError

#: Seconds that a provider has to answer.
ANSWER_SECONDS = 15.0

#: Seconds after a first failure, and at most, before a provider is asked again.
FIRST, LONGEST = 1.0, 60.0

#: Seconds before its expiry at which a token does not count any more: the schedd's clock may be ahead.
SLACK = 10.0


class Tokens(Protocol):
    """Where the tokens come from."""

    @property
    def trouble(self) -> str:
        """Why there is no valid token now, in words for the user; "" if there is one, or none is needed."""

    def renew(self) -> None:
        """Get a new token if it is time to; never raises."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with the variables by which HTCondor's libraries find the token."""


def source(chosen: Options, state: Path) -> Tokens:
    """The source of tokens that a site's options mean.

    Args:
        chosen: The options.
        state: Private folder for what is obtained.

    Raises:
        SiteError: A file of secrets is missing or can be read by others.
    """
    if chosen.openid is not None:
        return ProviderTokens(chosen.openid, state)
    if chosen.token_file:
        return FileTokens(Path(chosen.token_file))
    return FileTokens(None) if "SCITOKENS" in chosen.authentication else NoTokens()


class NoTokens:
    """Authentication by other means, IDTOKENS or the file system: HTCondor's libraries see to them."""

    trouble = ""

    def renew(self) -> None:
        """Nothing is needed."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Nothing is added."""
        return dict(base)


class FileTokens:
    """A token that somebody else renews.

    Args:
        path: Its file; None looks for it at each use as WLCG's bearer token discovery has it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @property
    def trouble(self) -> str:
        """See `Tokens`."""
        if self._path is None and os.environ.get("BEARER_TOKEN"):
            return _expired(os.environ["BEARER_TOKEN"].strip(), "the token in BEARER_TOKEN")
        path = self._path or discovered(os.environ)
        if path is None:
            return "no token: BEARER_TOKEN, BEARER_TOKEN_FILE, $XDG_RUNTIME_DIR/bt_u<uid> and /tmp/bt_u<uid> give none"
        try:
            token = path.read_text("ascii", "replace").strip()
        except OSError as error:
            return f"no token: {path}: {error.strerror}"
        return _expired(token, f"the token in {path}") if token else f"no token: {path} is empty"

    def renew(self) -> None:
        """Others do."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """HTCondor's libraries look in the same places, but a variable would stand over a file that is named."""
        if self._path is None:
            return dict(base)
        return _with_file(base, self._path)


class ProviderTokens:
    """Tokens from an OpenID provider, by client credentials or a refresh token; renewed after two thirds of their life.

    Args:
        provider: Where, as whom and for what.
        state: Private folder for the token, which outlives the plugin, and for refresh tokens of the provider's.

    Raises:
        SiteError: A file of secrets is missing or can be read by others.
    """

    def __init__(self, provider: OpenID, state: Path) -> None:
        self._provider = provider
        self._secret = _secret(provider.client_secret_file, "client_secret_file")
        _secret(provider.refresh_token_file, "refresh_token_file")
        self._file = state / "token"
        self._refresh_file = state / "refresh-token"
        self._failures = 0
        self._next = 0.0
        self._error = ""
        self._endpoint = ""
        self._client = httpx.Client(timeout=ANSWER_SECONDS, verify=_context(provider.ca_file))
        self._take_up()

    @property
    def trouble(self) -> str:
        """See `Tokens`."""
        if time.time() < self._expires - SLACK:
            return ""
        return f"no valid token from {self._provider.issuer}: {self._error or 'it was not asked yet'}"

    def renew(self) -> None:
        """Ask the provider if it is time to, and no earlier than a pause after a failure."""
        if time.time() < self._next:
            return
        try:
            self._keep(self._ask())
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            self._endpoint = ""
            self._error = _words(error)
            self._next = time.time() + min(FIRST * 2.0 ** min(self._failures, 16), LONGEST)
            self._failures += 1

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The file in which each new token takes the place of the last."""
        return _with_file(base, self._file)

    def _take_up(self) -> None:
        """Go on with the token of an earlier plugin."""
        try:
            token = self._file.read_text("ascii", "replace")
        except OSError:
            token = ""
        self._expires = expiry(token) or 0.0
        self._next = _renewal(_claim(token, "iat") or 0.0, self._expires)

    def _ask(self) -> dict[str, Any]:
        if not self._endpoint:
            found = self._client.get(f"{self._provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            self._endpoint = str(found.raise_for_status().json()["token_endpoint"])
        if not self._endpoint.startswith("https://"):
            raise ValueError(f"its token endpoint {self._endpoint} is not https")
        form = {"client_id": self._provider.client_id, "scope": " ".join(self._provider.scopes)}
        if self._provider.audience:
            form["audience"] = self._provider.audience
        refresh = self._refresh_token()
        form |= (
            {"grant_type": "refresh_token", "refresh_token": refresh}
            if refresh
            else {"grant_type": "client_credentials"}
        )
        login = httpx.BasicAuth(self._provider.client_id, self._secret) if self._secret else httpx.USE_CLIENT_DEFAULT
        answer = self._client.post(self._endpoint, data=form, auth=login)
        if answer.status_code != 200:
            raise ValueError(_denial(answer))
        content: dict[str, Any] = answer.json()
        return content

    def _keep(self, answer: Mapping[str, Any]) -> None:
        token = str(answer["access_token"])
        now = time.time()
        self._expires = expiry(token) or now + float(answer.get("expires_in", 600))
        if renewed := answer.get("refresh_token"):
            _write(self._refresh_file, str(renewed))
        _write(self._file, token)
        self._next = _renewal(now, self._expires)
        self._failures, self._error = 0, ""

    def _refresh_token(self) -> str:
        """The newest of the site's and of those that the provider gave; "" if the site uses none."""
        given = self._provider.refresh_token_file
        if not given:
            return ""
        files = [path for path in (Path(given), self._refresh_file) if path.exists()]
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        return newest.read_text("ascii").strip()


def discovered(environ: Mapping[str, str]) -> Path | None:
    """The file of the user's token by WLCG's bearer token discovery, or None; ``BEARER_TOKEN`` itself comes before."""
    if environ.get("BEARER_TOKEN_FILE"):
        return Path(environ["BEARER_TOKEN_FILE"])
    name = f"bt_u{os.geteuid()}"
    folders = [environ["XDG_RUNTIME_DIR"]] if environ.get("XDG_RUNTIME_DIR") else []
    paths = [Path(folder) / name for folder in (*folders, "/tmp")]  # noqa: S108 (WLCG's rules name it)
    return next((path for path in paths if path.exists()), None)


def expiry(token: str) -> float | None:
    """Seconds since the epoch at which a JSON web token expires; None if it does not say, or is none."""
    return _claim(token, "exp")


def _renewal(issued: float, expires: float) -> float:
    """When two thirds of a token's life are over; at once if it is not known when it was given."""
    return issued + (expires - issued) * 2 / 3 if issued else 0.0


def _claim(token: str, name: str) -> float | None:
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        claim = claims[name]
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
    return float(claim) if is_number(claim) else None


def _expired(token: str, what: str) -> str:
    until = expiry(token)
    if until is None or time.time() < until - SLACK:
        return ""
    return f"{what} expired at {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC; it has to be renewed"


def _with_file(base: Mapping[str, str], path: Path) -> dict[str, str]:
    return {**{name: value for name, value in base.items() if name != "BEARER_TOKEN"}, "BEARER_TOKEN_FILE": str(path)}


def _secret(path: str, key: str) -> str:
    """The one line of a file that only its owner can read; "" without a file."""
    if not path:
        return ""
    try:
        with Path(path).open(encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise SiteError(f"batch.options.openid.{key}: others can read {path}; make it 0600")
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not plain text"
        raise SiteError(f"batch.options.openid.{key}: {path}: {why}") from None


def _write(path: Path, text: str) -> None:
    """Replace a private file at once."""
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise SiteError(f"batch.options.openid.ca_file: {ca_file}: {error.strerror or error}") from None


def _denial(answer: httpx.Response) -> str:
    """What a provider says of why not (RFC 6749, section 5.2); never the request, which holds secrets."""
    try:
        content = answer.json()
        words = [str(content[key]) for key in ("error", "error_description") if key in content]
    except (ValueError, TypeError):
        words = []
    return f"it answered {answer.status_code}" + (f": {', '.join(words)}" if words else "")


def _words(error: Exception) -> str:
    return f"its answer lacks {error}" if isinstance(error, KeyError) else one_line(error) or type(error).__name__
