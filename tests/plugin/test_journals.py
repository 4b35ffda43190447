"""Journals with the reasons that a job leaves beside them: as hostile as anything that a pod can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flashlink.jobscript.journal import Ended
from flashlink.plugin.journals import LONGEST, LONGEST_MESSAGE, Journals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a pod with one container that could not start."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "journal").write_text("1.5\tended\tmain\tinstance=2\texit=127\tcause=runtime\n")
    return tmp_path


def reason(folder: Path) -> str:
    (event,) = Journals().read("uid", folder)
    assert isinstance(event, Ended)
    return event.reason


def leave(folder: Path, content: bytes) -> Path:
    path = folder / "logs" / "main.2.reason"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"there is no program 'x'\n", "there is no program 'x'"),
        (b"  two\nlines\r\n\n", "two lines"),
        (b"\x1b[31mred\x1b[0m \x07\x00end", " [31mred [0m   end"),
        ("\u202eturned µ\xff".encode(), " turned µÿ"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_a_reason_is_one_printable_line(folder: Path, content: bytes, line: str) -> None:
    leave(folder, content)
    assert reason(folder) == line


def test_a_long_reason_is_cut(folder: Path) -> None:
    leave(folder, b"x" * 10_000_000)
    assert reason(folder) == "x" * (LONGEST - 3) + "..."


def test_a_message_is_what_the_container_wrote_up_to_its_bound(folder: Path) -> None:
    (folder / "logs" / "main.2.message").write_bytes(b"two\n\x1blines\xff\n" + b"x" * 10_000)
    (event,) = Journals().read("uid", folder)
    assert isinstance(event, Ended)
    assert event.message.startswith("two\n\x1blines\ufffd\nxxx")
    assert len(event.message) == LONGEST_MESSAGE
    assert event.reason == ""


def test_what_is_no_file_of_its_own_is_no_reason(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("of somebody else")
    path = folder / "logs" / "main.2.reason"
    assert reason(folder) == ""
    path.symlink_to(secret)
    assert reason(folder) == ""
    path.unlink()
    os.mkfifo(path)  # must not wait for a writer
    assert reason(folder) == ""
    path.unlink()
    path.mkdir()
    assert reason(folder) == ""


def test_an_end_that_the_container_chose_has_no_reason(folder: Path) -> None:
    leave(folder, b"not asked for")
    (folder / "journal").write_text("1.5\tended\tmain\tinstance=2\texit=1\tcause=exited\n")
    assert reason(folder) == ""
