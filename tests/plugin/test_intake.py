"""Creates and deletes that come while the disk is busy."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
import pytest

from flashlink.errors import RequestError, SiteError
from flashlink.plugin.books import NONE, Books
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record
from flashlink.pods import wire
from flashlink.site.config import Containers, Site


class CountedBooks(Books):
    """Books that note of how many pods each write was."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.writes: list[int] = []

    def put(self, records: Iterable[Record], requests: Mapping[str, bytes] = NONE) -> None:
        rows = list(records)
        super().put(rows, requests)
        if rows:
            self.writes.append(len(rows))


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


def known(uid: str) -> wire.KnownPod:
    spec = {"containers": [{"name": "main", "image": "any"}]}
    return msgspec.convert({"metadata": {"name": "demo", "uid": uid}, "spec": spec}, wire.KnownPod)


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


def test_deletes_that_wait_for_the_disk_are_written_down_together_and_not_before(pods, books, disk):
    ours, strangers = uids(100), uids(100)
    disk.execute("ROLLBACK")
    for each in [pods.create(body(uid)) for uid in ours]:
        each.result(10)
    disk.execute("BEGIN IMMEDIATE")
    books.writes.clear()
    with ThreadPoolExecutor(20) as threads:
        deleted = list(threads.map(pods.delete, map(known, (*ours, *strangers, *ours))))
    done, _ = wait(deleted, timeout=0.3)
    assert not done
    disk.execute("ROLLBACK")
    assert [each.result(10).uid for each in deleted] == [*ours, *strangers, *ours]
    assert len(books.writes) <= 2
    assert {record.uid for record in books.records() if record.deleted} == {*ours, *strangers}
    assert all(pods.get(uid).deleted is not None for uid in (*ours, *strangers))


def test_a_pod_that_was_deleted_while_its_create_waited_does_not_run(pods, books, disk):
    gone, other = uids(2)
    accepted = [pods.create(body(uid)) for uid in (gone, other)]
    deleted = pods.delete(known(gone))
    disk.execute("ROLLBACK")
    assert deleted.result(10).deleted is not None
    assert accepted[1].result(10)[0].uid == other
    assert pods.get(gone).deleted is not None
    if accepted[0].exception(10):  # both were written down at once
        with pytest.raises(RequestError, match="was deleted already"):
            accepted[0].result()


def test_a_create_that_comes_with_the_delete_of_its_pod_is_refused(pods, books, disk):
    first, uid = uids(2)
    pods.create(body(first))  # waits for the disk, and the others for it
    deleted = pods.delete(known(uid))
    created = pods.create(body(uid))
    disk.execute("ROLLBACK")
    assert deleted.result(10).deleted is not None
    with pytest.raises(RequestError, match="was deleted already"):
        created.result(10)
    assert books.request(uid) is None


def test_a_delete_of_a_pod_that_is_gone_writes_nothing(pods, books, disk):
    (uid,) = uids(1)
    disk.execute("ROLLBACK")
    pods.delete(known(uid)).result(10)
    pods.bury([uid])
    books.writes.clear()
    disk.execute("BEGIN IMMEDIATE")
    assert pods.delete(known(uid)).result(10) is None
    assert books.writes == []


def test_each_is_told_that_the_books_cannot_be_written_and_works_later(pods, books, disk):
    books._database.execute("PRAGMA busy_timeout = 50")
    asked = uids(3)
    for each in [*map(pods.create, map(body, asked)), *map(pods.delete, map(known, uids(3)))]:
        with pytest.raises(SiteError, match="cannot write its books") as told:
            each.result(10)
        assert told.value.transient
    assert len(pods) == 0
    disk.execute("ROLLBACK")
    assert [pods.create(body(uid)).result(10)[0].uid for uid in asked] == asked
