"""The pods that were submitted from here: one private file each, so that later commands can ask for them by name."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from flashlink.errors import RequestError, SiteError
from flashlink.state import state_home


@dataclass(frozen=True, slots=True)
class Entry:
    """A submitted pod.

    Attributes:
        uid: Its uid.
        name: Its name; several pods may have the same.
        namespace: Its namespace.
        endpoint: The plugin that has it.
        jid: The plugin's job id.
        submitted: Seconds since the epoch.
        pod: The Kubernetes pod as sent, with the annotation ``JobID``: what status and delete calls send again. It may
            hold secrets in its variables.
    """

    uid: str
    name: str
    namespace: str
    endpoint: str
    jid: str
    submitted: float
    pod: dict[str, Any]


class Books:
    """The entries, in a folder (0700) with one JSON file (0600) a pod.

    Args:
        folder: By default ``submitted`` in flashlink's state home.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_home() / "submitted"

    def add(self, entry: Entry) -> None:
        """Write an entry; in place of one of the same uid.

        Raises:
            SiteError: The folder cannot be made or written.
        """
        try:
            self._write(entry)
        except OSError as error:
            line = f"{self.folder}: the list of submitted pods cannot be kept here: {error.strerror}"
            raise SiteError(f"{line}; set XDG_STATE_HOME to a folder that can be written") from None

    def _write(self, entry: Entry) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes the file 0600; the name does not end in .json until it is whole.
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(entry))
            Path(name).rename(self._path(entry.uid))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def all(self) -> list[Entry]:
        """Every entry, oldest first."""
        found = [_read(path) for path in self.folder.glob("*.json")] if self.folder.is_dir() else []
        return sorted((entry for entry in found if entry), key=lambda entry: (entry.submitted, entry.uid))

    def matching(self, asked: str) -> list[Entry]:
        """The entries that `asked` means: a name, NAMESPACE/NAME, a uid or the start of one.

        Raises:
            RequestError: There is none.
        """
        entries = self.all()
        found = [entry for entry in entries if asked in {entry.name, f"{entry.namespace}/{entry.name}", entry.uid}]
        found = found or [entry for entry in entries if asked and entry.uid.startswith(asked)]
        if not found:
            raise RequestError(f"{asked}: no pod of this name or uid was submitted from here; see 'flashlink status'")
        return found

    def find(self, asked: str) -> Entry:
        """The one entry that `asked` means; see `matching`.

        Raises:
            RequestError: There is none, or more than one.
        """
        found = self.matching(asked)
        if len(found) > 1:
            uids = ", ".join(entry.uid for entry in found)
            raise RequestError(f"{asked}: {len(found)} pods are called so; give one of the uids {uids}")
        return found[0]

    def remove(self, uid: str) -> None:
        """Forget an entry; one that is not there is no error."""
        self._path(uid).unlink(missing_ok=True)

    def _path(self, uid: str) -> Path:
        return self.folder / f"{uid}.json"


def _read(path: Path) -> Entry | None:
    """An entry, or None if another command has just removed it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise RequestError(f"{path}: not an entry of flashlink ({error}); remove the file") from None
