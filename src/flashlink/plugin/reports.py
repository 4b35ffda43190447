"""How jobs report where they share no file system with the plugin: to which address, and by which token.

A token is good for one pod, and only to add to its journal and logs. Tokens are made from one secret of the plugin and
the pod's uid, so nothing about them is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from flashlink.errors import SiteError
from flashlink.jobscript.plan import Report
from flashlink.plugin.mirror import Mirror
from flashlink.pods.quantity import size
from flashlink.site.config import Reports as Settings


class Reports:
    """Tells each job how to report, and knows its token again.

    Args:
        settings: The site's, with an address to listen at.
        state: The plugin's state folder, which holds the secret.

    Raises:
        SiteError: The secret, or the certificates that jobs shall trust, cannot be read.
    """

    def __init__(self, settings: Settings, state: Path) -> None:
        self._settings = settings
        self._largest = size(settings.file_size, "reports.file_size")
        try:
            self._secret = _secret(state / "reports.secret")
            self._authority = Path(settings.authority).read_text("ascii") if settings.authority else ""
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(f"reports: {error}; check reports.authority and the state folder") from error

    def of(self, uid: str) -> Report:
        """How the job of a pod reports."""
        url = f"{self._settings.url.rstrip('/')}/reports/{uid}"
        return Report(url, self._token(uid), self._settings.seconds, self._authority)

    def mirror(self, folder: Path) -> Mirror:
        """The files of the pod in `folder` as its job reports them."""
        return Mirror(folder, self._largest)

    def admits(self, uid: str, authorization: str) -> bool:
        """Whether the value of a header ``Authorization`` is that of the pod's own job."""
        return hmac.compare_digest(f"Bearer {self._token(uid)}".encode(), authorization.encode())

    def _token(self, uid: str) -> str:
        return hmac.new(self._secret, b"report " + uid.encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    """The secret in a file of mode 0600, made when it is missing: 32 random bytes."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        draft = path.with_name(f"{path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        draft.replace(path)
        return path.read_bytes()
