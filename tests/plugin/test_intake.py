"""Creates that come while the disk is busy."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
import pytest

from flashlink.errors import RequestError, SiteError
from flashlink.plugin.books import Books
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record
from flashlink.pods import wire
from flashlink.site.config import Containers, Site


class CountedBooks(Books):
    """Books that note how many pods each write has taken in."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.writes: list[int] = []

    def intend(self, intents: Sequence[tuple[Record, bytes]]) -> None:
        super().intend(intents)
        self.writes.append(len(intents))


@pytest.fixture
def books(tmp_path: Path) -> Iterator[CountedBooks]:
    with CountedBooks(tmp_path / "state") as books:
        yield books


@pytest.fixture
def pods(books: CountedBooks, tmp_path: Path) -> Pods:
    return Pods(books, Site(containers=Containers(runtime="host")), tmp_path / "work", "fake")


@pytest.fixture
def disk(books: CountedBooks, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else who writes: until the rollback, no write of the books comes to its end."""
    database = sqlite3.connect(tmp_path / "state" / "books.sqlite", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    yield database
    database.close()


def body(uid: str) -> bytes:
    container = {"name": "main", "image": "any", "command": ["true"]}
    metadata = {"name": "demo", "namespace": "default", "uid": uid}
    return msgspec.json.encode({"pod": {"metadata": metadata, "spec": {"containers": [container]}}})


def uids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def test_creates_that_wait_for_the_disk_are_accepted_together_and_not_before(pods, books, disk):
    asked = uids(200)
    with ThreadPoolExecutor(20) as threads:
        accepted = list(threads.map(pods.create, map(body, asked)))
    done, _ = wait(accepted, timeout=0.3)
    assert not done
    assert len(pods) == 0
    disk.execute("ROLLBACK")
    assert [each.result(10)[0].uid for each in accepted] == asked
    assert len(books.writes) <= 2  # what came before the disk was busy, and all the others
    assert {record.uid for record in books.records()} == set(asked)
    assert all(books.request(uid) == body(uid) for uid in asked)


def test_the_same_pod_twice_in_one_write_is_one_pod(pods, books, disk):
    (uid,) = uids(1)
    accepted = [pods.create(body(uid)) for _ in range(5)]
    disk.execute("ROLLBACK")
    records, answers = zip(*(each.result(10) for each in accepted), strict=True)
    assert set(map(id, records)) == {id(pods.get(uid))}
    assert len(set(map(id, answers))) == 1
    assert len(books.records()) == 1


def test_a_pod_that_was_deleted_while_its_create_waited_does_not_run(pods, books, disk):
    gone, other = uids(2)
    accepted = [pods.create(body(uid)) for uid in (gone, other)]
    with ThreadPoolExecutor(1) as threads:
        known = msgspec.convert({"metadata": {"name": "demo", "uid": gone}, "spec": {"containers": []}}, wire.KnownPod)
        deleted = threads.submit(pods.delete, known)
        disk.execute("ROLLBACK")
        deleted.result(10)
    assert accepted[1].result(10)[0].uid == other
    assert pods.get(gone).deleted is not None
    if accepted[0].exception(10):  # the delete came first
        with pytest.raises(RequestError, match="was deleted already"):
            accepted[0].result()


def test_each_create_is_told_that_the_books_cannot_be_written_and_works_later(pods, books, disk):
    books._database.execute("PRAGMA busy_timeout = 50")
    asked = uids(3)
    for each in [pods.create(body(uid)) for uid in asked]:
        with pytest.raises(SiteError, match="cannot write its books") as told:
            each.result(10)
        assert told.value.transient
    assert len(pods) == 0
    disk.execute("ROLLBACK")
    assert [pods.create(body(uid)).result(10)[0].uid for uid in asked] == asked
