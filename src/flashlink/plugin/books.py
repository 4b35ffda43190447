"""The books: what must survive the plugin, in one SQLite file.

A pod is written down before its job is submitted (the intent), again before the batch system is asked (`tried`), and
again with its job id. So after a kill at any moment the books tell which jobs may exist, and the batch system, asked by
uid, tells which do. The create request, which can hold secrets, is kept only until the job has begun: a batch system
may lose one before.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Self

import msgspec

from flashlink.errors import SiteError
from flashlink.plugin.record import Record

#: Version of `SCHEMA`; books of another version are refused rather than misread.
VERSION = 1

SCHEMA = """
CREATE TABLE pods (uid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (uid TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tombstones (uid TEXT PRIMARY KEY, deleted REAL NOT NULL) WITHOUT ROWID;
"""

NONE: Mapping[str, bytes] = MappingProxyType({})

_PUT = "INSERT INTO pods VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET record = excluded.record"
_BURY = "INSERT OR REPLACE INTO tombstones VALUES (?, ?)"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class Books:
    """The books in the folder `state`, locked for this process alone. Methods may be called from any thread.

    Args:
        state: Folder; made with mode 0700 if it is missing.

    Raises:
        SiteError: Another plugin uses the folder, it cannot be written, or the books are of another version.
    """

    def __init__(self, state: Path) -> None:
        self._lock = threading.Lock()
        self._held = _hold(state)
        path = state / "books.sqlite"
        try:
            path.touch(mode=0o600)
            path.chmod(0o600)
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._open(path)
        except (OSError, sqlite3.Error) as error:
            self._held.close()
            raise SiteError(f"{path}: cannot be used as the plugin's books: {error}; choose another --state") from error

    def _open(self, path: Path) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "busy_timeout = 5000"):
            self._database.execute(f"PRAGMA {pragma}")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            self.close()
            raise SiteError(
                f"{path}: written by another flashlink (version {version}, this one writes {VERSION}); "
                "use that flashlink or another --state"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let another plugin have the folder."""
        with self._lock:
            self._database.close()
            self._held.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, all or nothing, on disk when it ends."""
        with self._lock:
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    yield
            except sqlite3.Error as error:
                raise SiteError(
                    f"the plugin cannot write its books: {error}; try again later", transient=True
                ) from error

    def records(self) -> list[Record]:
        """Every pod in the books."""
        with self._lock:
            return [_decode(row[0]) for row in self._database.execute("SELECT record FROM pods")]

    def tombstones(self) -> list[str]:
        """Uids of pods that were deleted, whether they were known or not."""
        with self._lock:
            return [row[0] for row in self._database.execute("SELECT uid FROM tombstones")]

    def request(self, uid: str) -> bytes | None:
        """The create request of a pod whose job has not begun, as it came."""
        with self._lock:
            row = self._database.execute("SELECT body FROM requests WHERE uid = ?", (uid,)).fetchone()
        return row[0] if row else None

    def put(self, records: Iterable[Record], requests: Mapping[str, bytes] = NONE) -> None:
        """Write new or newer records, all or none; requests of those that will not be submitted again are dropped.

        Args:
            records: Of pods; a new one is here before anything is done about it.
            requests: Uid to create request, of new ones.
        """
        rows, done = [], []
        for record in records:
            rows.append((record.uid, _encode(record)))
            if record.begun:
                done.append((record.uid,))
        if not rows:
            return
        with self._writing():
            self._database.executemany(_PUT, rows)
            self._database.executemany("INSERT OR REPLACE INTO requests VALUES (?, ?)", requests.items())
            self._database.executemany("DELETE FROM requests WHERE uid = ?", done)

    def bury(self, uids: Sequence[str], now: float) -> None:
        """Take pods out of the books and remember that they were deleted, so that a late create does not start them."""
        with self._writing():
            self._database.executemany("DELETE FROM pods WHERE uid = ?", [(uid,) for uid in uids])
            self._database.executemany("DELETE FROM requests WHERE uid = ?", [(uid,) for uid in uids])
            self._database.executemany(_BURY, [(uid, now) for uid in uids])

    def drop(self, uid: str) -> None:
        """Take out a pod that was refused: nothing of it is kept."""
        with self._writing():
            self._database.execute("DELETE FROM pods WHERE uid = ?", (uid,))
            self._database.execute("DELETE FROM requests WHERE uid = ?", (uid,))

    def exhume(self, before: float) -> list[str]:
        """Forget tombstones older than `before` (seconds since the epoch); the uids that were forgotten."""
        with self._writing():
            rows = self._database.execute(
                "DELETE FROM tombstones WHERE deleted < ? RETURNING uid", (before,)
            ).fetchall()
        return [row[0] for row in rows]


def _hold(state: Path) -> IO[bytes]:
    """Lock the folder against a second plugin; the kernel lets go when this process dies, however it dies."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        held = os.fdopen(os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except OSError as error:
        raise SiteError(
            f"{state}: cannot be the plugin's state folder: {error.strerror}; choose another --state"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = held.read(20).decode("ascii", "replace").strip() or "unknown"
        held.close()
        raise SiteError(
            f"{state}: another plugin (process {owner}) uses this state folder; stop it or choose another --state"
        ) from error
    held.truncate(0)
    held.write(b"%d\n" % os.getpid())
    held.flush()
    return held
