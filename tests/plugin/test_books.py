from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from flashlink.batch import JobState, JobStatus
from flashlink.errors import SiteError
from flashlink.plugin.books import VERSION, Books
from flashlink.plugin.record import Record
from flashlink.pods.status import ContainerState, Outline, Phase

RECORD = Record(
    Outline("uid", "demo", "default", ("init",), ("main",), frozenset({"mesh"})),
    1.5,
    job=JobStatus(JobState.HELD, reason="why"),
    states={"main": ContainerState(Phase.RUNNING, started=3.0, restarts=1)},
)


@pytest.fixture
def books(tmp_path):
    with Books(tmp_path / "state") as books:
        yield books


def test_a_record_comes_back_as_it_was(books):
    books.put([RECORD], {RECORD.uid: b"request"})
    assert books.records() == [RECORD]
    assert books.request("uid") == b"request"


def test_the_request_goes_when_the_job_has_begun(books, tmp_path):
    books.put([RECORD], {RECORD.uid: b"with a secret"})
    books.put([dataclasses.replace(RECORD, problem="later")])
    assert books.request("uid") == b"with a secret"
    submitted = dataclasses.replace(RECORD, job_id="local:host:1", job=JobStatus(JobState.QUEUED))
    books.put([submitted])
    assert books.request("uid") == b"with a secret"
    books.put([dataclasses.replace(submitted, job=JobStatus(JobState.RUNNING))])
    assert books.request("uid") is None


def test_a_second_plugin_is_told_which_process_has_the_folder(books, tmp_path):
    with pytest.raises(SiteError, match=r"another plugin \(process \d+\) uses this state folder"):
        Books(tmp_path / "state")


def test_the_folder_is_free_again_after_close(tmp_path):
    Books(tmp_path / "state").close()
    Books(tmp_path / "state").close()


def test_everything_is_private(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    with Books(tmp_path / "state") as books:
        books.put([RECORD], {RECORD.uid: b"x"})
        for path in (tmp_path / "state", *(tmp_path / "state").iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path


def test_books_of_another_version_are_refused(tmp_path):
    Books(tmp_path / "state").close()
    database = sqlite3.connect(tmp_path / "state" / "books.sqlite")
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(SiteError, match="written by another flashlink"):
        Books(tmp_path / "state")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "books.sqlite").write_text("not a database, but long enough to be looked at" * 10)
    with pytest.raises(SiteError, match="choose another --state"):
        Books(tmp_path / "state")


def test_a_state_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(SiteError, match="cannot be the plugin's state folder"):
        Books(tmp_path / "state")


def test_graves(books):
    books.put([RECORD], {RECORD.uid: b"x"})
    books.bury(["uid", "other"], 5.0)
    assert books.records() == []
    assert books.request("uid") is None
    assert sorted(books.tombstones()) == ["other", "uid"]
    assert books.exhume(5.0) == []
    assert sorted(books.exhume(6.0)) == ["other", "uid"]
    assert books.tombstones() == []


def test_all_or_nothing(books):
    class WrongRecord(Exception):  # noqa: N818
        pass

    def records():
        yield RECORD
        raise WrongRecord

    with pytest.raises(WrongRecord):
        books.put(records())
    assert books.records() == []
