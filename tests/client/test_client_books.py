"""The list of pods that were submitted from here."""

import stat
from pathlib import Path

import pytest

from flashlink.client.books import Books, Entry
from flashlink.errors import RequestError, SiteError


def entry(uid: str, name: str = "demo", submitted: float = 1.0, jid: str = "7") -> Entry:
    return Entry(uid, name, "default", "http://127.0.0.1:4000", jid, submitted, {"metadata": {"uid": uid}})


def test_entries_come_back_oldest_first(tmp_path: Path) -> None:
    books = Books(tmp_path / "a" / "b")
    assert books.all() == []
    books.add(entry("u-2", submitted=2.0))
    books.add(entry("u-1", jid=""))
    books.add(entry("u-1"))
    assert books.all() == [entry("u-1"), entry("u-2", submitted=2.0)]
    books.remove("u-1")
    books.remove("u-1")
    assert [one.uid for one in books.all()] == ["u-2"]


def test_they_are_private_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    Books(folder).add(entry("u-1"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()] == [("u-1.json", 0o600)]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    bad = Entry("u-1", "demo", "default", "e", "7", 1.0, {"x": object()})
    with pytest.raises(TypeError):
        Books(tmp_path).add(bad)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SiteError, match=r"file/x: the list of submitted pods cannot be kept here: Not a directory; set"
    ):
        Books(tmp_path / "file" / "x").add(entry("u-1"))


def test_the_default_folder_is_in_the_state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Books().folder == tmp_path / "flashlink" / "submitted"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert Books().folder == Path("/home/someone/.local/state/flashlink/submitted")


@pytest.mark.parametrize("asked", ["other", "default/other", "u-2222", "u-22"])
def test_find(tmp_path: Path, asked: str) -> None:
    books = Books(tmp_path)
    books.add(entry("u-1111"))
    books.add(entry("u-2222", "other"))
    assert books.find(asked).uid == "u-2222"


def test_find_none_or_several(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.add(entry("u-1"))
    books.add(entry("u-2"))
    with pytest.raises(RequestError, match=r"^nope: no pod of this name or uid was submitted from here"):
        books.find("nope")
    assert [one.uid for one in books.matching("demo")] == ["u-1", "u-2"]
    with pytest.raises(RequestError, match=r"^demo: 2 pods are called so; give one of the uids u-1, u-2$"):
        books.find("demo")


def test_a_broken_entry_is_named(tmp_path: Path) -> None:
    (tmp_path / "u-1.json").write_text("{")
    with pytest.raises(RequestError, match=r"u-1\.json: not an entry of flashlink .*; remove the file"):
        Books(tmp_path).all()
