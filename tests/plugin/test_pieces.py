"""Logs that their site bounds: a beginning, newer pieces, and a line where the middle was cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.plugin import logs
from flashlink.plugin.logs import Log, Wanted, nanoseconds
from flashlink.plugin.pieces import Pieces

NOW = 1_800_000_000.0
CONTENT = b"".join(b"line %03d\n" % number for number in range(200))


def write(folder: Path, content: bytes, *starts: int, lost: int = 0) -> Path:
    """A log of `content` whose pieces begin at `starts`, of which the first `lost` are gone."""
    path = folder / "main.0.log"
    ends = [*starts, len(content)]
    path.write_bytes(content[: ends[0]])
    for start, end in list(zip(starts, ends[1:], strict=True))[lost:]:
        (folder / f"main.0.log.{start}").write_bytes(content[start:end])
    return path


def read(path: Path, window: Wanted) -> bytes:
    log = Log(path, window)
    try:
        return b"".join(iter(log.read, b""))
    finally:
        log.close()


@given(
    st.lists(st.sampled_from([b"\n", b"a", b"bc\n", b"0123456789"]), max_size=30).map(b"".join),
    st.lists(st.integers(0, 100), max_size=4, unique=True),
    st.integers(1, 9),
    st.integers(0, 8),
)
def test_pieces_of_which_none_is_lost_are_one_text(tmp_path_factory, content, starts, block, tail):
    cuts = sorted(start for start in starts if 0 < start <= len(content))
    whole = write(tmp_path_factory.mktemp("whole"), content)
    parts = write(tmp_path_factory.mktemp("parts"), content, *cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        assert read(parts, Wanted(tail=tail)) == read(whole, Wanted(tail=tail))
        assert read(parts, Wanted(tail=tail, follow=True)) == read(whole, Wanted(tail=tail))


@pytest.mark.parametrize("follow", [False, True])
def test_a_line_tells_how_much_was_cut(tmp_path, follow):
    path = write(tmp_path, CONTENT, 90, 400, 1203, lost=2)
    # Position 1203 is in line 133, so what is left of that is cut, too.
    expected = CONTENT[:90] + b"[flashlink: 1116 bytes were cut here]\n" + CONTENT[1206:]
    assert read(path, Wanted(follow=follow)) == expected


@given(st.integers(10, 600), st.integers(700, 1790), st.integers(0, 220), st.integers(9, 40))
def test_the_tail_of_what_is_left(tmp_path_factory, head, rest, tail, block):
    path = write(tmp_path_factory.mktemp("cut"), CONTENT, head // 9 * 9, rest // 9 * 9 + 4, lost=0)
    (path.parent / f"main.0.log.{head // 9 * 9}").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        whole = read(path, Wanted())
        assert read(path, Wanted(tail=tail)) == b"".join(whole.splitlines(keepends=True)[-tail:])
    assert b"\0" not in whole
    assert whole.count(b"[flashlink: ") == 1


def test_half_a_line_before_the_cut_is_ended(tmp_path):
    path = write(tmp_path, CONTENT, 94, 400, 1206, lost=2)
    assert read(path, Wanted()).splitlines()[10:12] == [b"line", b"[flashlink: 1121 bytes were cut here]"]


def test_a_line_longer_than_what_is_kept_is_shown_from_where_it_is_kept(tmp_path):
    path = write(tmp_path, b"head\n" + b"x" * 100, 5, 50, lost=1)
    assert read(path, Wanted()) == b"head\n[flashlink: 45 bytes were cut here]\n" + b"x" * 55


def test_the_mark_has_a_time_and_counts_as_a_line(tmp_path):
    path = write(tmp_path, CONTENT, 90, 400, 1206, lost=2)
    path.with_suffix(".times").write_text(f"{NOW} 90\n{NOW + 1} 1300\n{NOW + 2} 1800\n")
    lines = read(path, Wanted(timestamps=True, tail=68)).splitlines()
    assert lines[1] == nanoseconds(NOW).encode() + b" line 009"
    assert lines[2] == nanoseconds(NOW + 1).encode() + b" [flashlink: 1125 bytes were cut here]"
    assert lines[-1] == nanoseconds(NOW + 2).encode() + b" line 199"
    assert len(lines) == 68


def test_what_is_newer_than_a_time_begins_in_what_was_cut(tmp_path):
    path = write(tmp_path, CONTENT, 90, 400, 1206, lost=2)
    path.with_suffix(".times").write_text(f"{NOW} 90\n{NOW + 1} 600\n{NOW + 2} 1800\n")
    shown = read(path, Wanted(since=NOW + 2))
    assert shown == b"[flashlink: 615 bytes were cut here]\n" + CONTENT[1215:]


def test_bytes_are_those_of_what_is_shown(tmp_path):
    path = write(tmp_path, CONTENT, 90, 400, 1206, lost=2)
    assert read(path, Wanted(limit=100)) == CONTENT[:90] + b"[flashlink"


def test_a_follower_goes_from_piece_to_piece(tmp_path):
    path = write(tmp_path, CONTENT[:90])
    log = Log(path, Wanted(follow=True))
    assert log.read() == CONTENT[:90]
    assert log.read() == b""
    newer = tmp_path / "main.0.log.90"
    newer.write_bytes(CONTENT[90:180])
    assert log.read() == CONTENT[90:180]
    with newer.open("ab") as file:
        file.write(CONTENT[180:270])
    (tmp_path / "main.0.log.270").write_bytes(CONTENT[270:360])
    newer.unlink()  # not before it was complete, and it is still open here
    assert log.read() == CONTENT[180:270]
    assert log.read() == CONTENT[270:360]
    log.close()


def test_a_follower_that_is_too_slow_is_told_what_it_missed(tmp_path):
    path = write(tmp_path, CONTENT[:90])
    log = Log(path, Wanted(follow=True))
    assert log.read() == CONTENT[:90]
    (tmp_path / "main.0.log.900").write_bytes(CONTENT[900:])
    assert log.read() == b"[flashlink: 819 bytes were cut here]\n"
    assert log.read() == CONTENT[909:]
    log.close()


def test_a_follower_keeps_no_piece_that_it_has_passed(tmp_path):
    path = write(tmp_path, CONTENT, 90, 180, 900)
    pieces = Pieces(path)
    pieces.pass_by(950)
    assert (pieces.read(100, 9), pieces.read(950, 5)) == (b"", CONTENT[950:955])
    pieces.close()


def test_other_files_are_no_pieces(tmp_path):
    path = write(tmp_path, CONTENT[:90])
    for name in ("main.0.log.x", "main.0.log.-5", "main.0.log.9.new", "main.0.log", "main.0.log.²", "main.00.log.90"):
        (tmp_path / name).touch()
    assert read(path, Wanted()) == CONTENT[:90]


def test_a_link_is_no_piece(tmp_path):
    path = write(tmp_path, CONTENT[:90])
    (tmp_path / "main.0.log.90").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        Log(path, Wanted())
