from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.errors import RequestError
from flashlink.plugin import logs
from flashlink.plugin.logs import Log, Times, Wanted, instance, nanoseconds, wanted
from flashlink.pods.wire import LogOptions

NOW = 1_800_000_000.0


def read(path, window: Wanted) -> bytes:
    log = Log(path, window)
    try:
        return b"".join(iter(log.read, b""))
    finally:
        log.close()


def naive(writes: list[bytes], window: Wanted) -> bytes:
    """What kubectl shows, the slow and obvious way: `writes` came one a second from `NOW` on."""
    moments = [NOW + number for number, write in enumerate(writes) for _ in write]
    content, lines = b"".join(writes), []
    start = 0
    for number, byte in enumerate(content):
        if byte == 10 or number == len(content) - 1:
            lines.append((moments[start], content[start : number + 1]))
            start = number + 1
    if window.tail:
        lines = lines[-window.tail :]
    if window.since is not None:
        lines = [line for line in lines if line[0] >= window.since]
    shown = b"".join(
        (f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%S}.000000000Z ".encode() if window.timestamps else b"")
        + line
        for time, line in lines
    )
    return shown[: window.limit] if window.limit else shown


writes = st.lists(
    st.lists(st.sampled_from([b"\n", b"a", b"bc\n", b"\r", b"\xff", b"0123456789"])).map(b"".join), max_size=8
)
windows = st.builds(
    Wanted,
    tail=st.integers(0, 6),
    limit=st.integers(0, 60),
    since=st.none() | st.integers(-1, 9).map(lambda second: NOW + second),
    timestamps=st.booleans(),
    follow=st.booleans(),
)


@given(writes, windows, st.integers(1, 9))
def test_as_the_naive_reference_shows_it(tmp_path_factory, writes, window, block):
    path = tmp_path_factory.mktemp("logs") / "main.0.log"
    path.write_bytes(b"".join(writes))
    size, notes = 0, []
    for number, write in enumerate(writes):
        size += len(write)
        if write:
            notes.append(f"{NOW + number} {size}\n")
    path.with_suffix(".times").write_text("".join(notes))
    os.utime(path, (NOW, NOW + max((number for number, write in enumerate(writes) if write), default=0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "BLOCK", block)
        assert read(path, window) == naive(writes, window)


def test_tail_of_a_huge_log_reads_only_its_end(tmp_path, monkeypatch):
    path = tmp_path / "main.0.log"
    with path.open("wb") as file:
        file.seek(2**30)
        file.write(b"\none\ntwo\nthree")
    amounts = []
    pread = os.pread

    def counted(handle: int, length: int, offset: int) -> bytes:
        amounts.append(length)
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert read(path, Wanted(tail=2)) == b"two\nthree"
    assert sum(amounts) < 3 * logs.BLOCK


def test_a_log_that_grows_while_it_is_read_ends_where_it_ended(tmp_path):
    path = tmp_path / "main.0.log"
    path.write_bytes(b"old\n")
    log = Log(path, Wanted())
    with path.open("ab") as file:
        file.write(b"new\n")
    assert b"".join(iter(log.read, b"")) == b"old\n"
    log.close()


def test_a_followed_log_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "main.0.log"
    path.write_bytes(b"a\nhalf")
    log = Log(path, Wanted(follow=True, tail=1))
    assert log.read() == b"half"
    assert log.read() == b""
    with path.open("ab") as file:
        file.write(b" line\n")
    assert log.read() == b" line\n"
    log.close()


def test_half_a_line_gets_its_time_once(tmp_path):
    path = tmp_path / "main.0.log"
    path.write_bytes(b"half")
    path.with_suffix(".times").write_text(f"{NOW} 4\n")
    log = Log(path, Wanted(follow=True, timestamps=True))
    stamp = nanoseconds(NOW).encode() + b" "
    assert log.read() == stamp + b"half"
    with path.open("ab") as file:
        file.write(b" line\nnext")
    with path.with_suffix(".times").open("a") as file:
        file.write(f"{NOW + 1} 14\n")
    assert log.read() == b" line\n" + nanoseconds(NOW + 1).encode() + b" next"
    log.close()


def test_what_no_note_covers_yet_has_the_time_of_the_file(tmp_path):
    path = tmp_path / "main.0.log"
    path.write_bytes(b"noted\nfresh\n")
    path.with_suffix(".times").write_text(f"{NOW} 6\n")
    os.utime(path, (NOW + 5, NOW + 5))
    assert read(path, Wanted(since=NOW + 5)) == b"fresh\n"
    assert read(path, Wanted(since=NOW + 6)) == b""
    assert read(path, Wanted(timestamps=True, tail=1)) == nanoseconds(NOW + 5).encode() + b" fresh\n"


def test_a_note_counts_though_the_file_was_written_before_it(tmp_path):
    path = tmp_path / "main.0.log"
    path.write_bytes(b"line\n")
    path.with_suffix(".times").write_text(f"{NOW + 0.1} 5\n")
    os.utime(path, (NOW - 0.1, NOW - 0.1))
    assert read(path, Wanted(timestamps=True)) == nanoseconds(NOW + 0.1).encode() + b" line\n"
    assert read(path, Wanted(since=NOW)) == b"line\n"


def test_instances(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("main.0.log", "main.9.log", "main.10.log", "main.10.times", "main.x.log", "main-2.11.log"):
        (folder / name).touch()
    assert instance(tmp_path, "main") == folder / "main.10.log"
    assert instance(tmp_path, "main", previous=True) == folder / "main.9.log"
    assert instance(tmp_path, "main-2", previous=True) is None
    assert instance(tmp_path, "other") is None


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "main.0.log").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        Log(tmp_path / "main.0.log", Wanted())


@given(st.binary(max_size=200))
def test_broken_notes_are_passed_over(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("times") / "main.0.times"
    path.write_bytes(garbage + f"\n{NOW} 10\n".encode())
    times = Times(path)
    times.size_before(NOW + 1)
    nanoseconds(times.of(5))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Wanted()),
        ({"Tail": -1, "Bytes": -5, "SinceSeconds": -3}, Wanted()),
        ({"SinceTime": "0001-01-01T00:00:00Z"}, Wanted()),
        ({"SinceSeconds": 10}, Wanted(since=NOW - 10)),
        ({"SinceTime": "2027-01-15T08:00:00Z"}, Wanted(since=NOW)),
        ({"SinceTime": "2027-01-15T09:00:00.5+01:00"}, Wanted(since=NOW + 0.5)),
        (
            {"Tail": 3, "Bytes": 4, "Follow": True, "Previous": True, "Timestamps": True},
            Wanted(3, 4, None, True, True, True),
        ),
    ],
)
def test_options(options, expected):
    assert wanted(LogOptions(**options), NOW) == expected


def test_wrong_time_names_its_place():
    with pytest.raises(RequestError, match=r"^getLogs: Opts.SinceTime: 'now' is not an RFC 3339 time"):
        wanted(LogOptions(SinceTime="now"), NOW)
