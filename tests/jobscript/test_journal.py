from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashlink.jobscript.journal import Ended, Event, JobEnded, JobStarted, Pulling, Ready, Skipped, Started, parse

GOOD: list[tuple[bytes, Event]] = [
    (
        b"1700000000.250000\tjob-started\t-\tnode=worker-1.site.org\tpid=77\n",
        JobStarted(1700000000.25, "worker-1.site.org", 77),
    ),
    (b"1700000001\tpulling\tmain\n", Pulling(1700000001.0, "main")),
    (b"1700000002.5\tstarted\tmain\tinstance=1\n", Started(1700000002.5, "main", 1)),
    (b"1700000002.5\tstarted\tmain\tinstance=1\tready=no\n", Started(1700000002.5, "main", 1, ready=False)),
    (b"1700000002.6\tready\tmain\tinstance=1\n", Ready(1700000002.6, "main", 1)),
    (b"1700000002.7\tunready\tmain\tinstance=1\n", Ready(1700000002.7, "main", 1, ready=False)),
    (b"1700000003.5\tended\tmain\tinstance=1\texit=137\tcause=signal\n", Ended(1700000003.5, "main", 1, 137, "signal")),
    (
        b"1700000003.5\tended\tmain\tinstance=2\texit=1\tcause=exited\tagain=yes\n",
        Ended(1700000003.5, "main", 2, 1, "exited", again=True),
    ),
    (
        b"1700000003.5\tskipped\tside\tcause=init-failed\tinit=prep\n",
        Skipped(1700000003.5, "side", "init-failed", "prep"),
    ),
    (b"1700000004.5\tjob-ended\t-\texit=0\tpid=7\n", JobEnded(1700000004.5, 0, 7)),
    (b"1700000004.5\tjob-ended\t-\texit=0\n", JobEnded(1700000004.5, 0)),
]
LINES = st.sampled_from([line for line, _ in GOOD])
#: What a full disk or a stray writer leaves; none of it is a line of the journal.
GARBAGE = st.sampled_from(
    [
        b"\n",
        b"\xff\xfe\n",
        b"1700000000\n",
        b"nan\tstarted\tmain\tinstance=0\n",
        b"1700000000\texploded\tmain\n",
        b"1700000000\tstarted\tmain\n",
        b"1700000000\tstarted\t../main\tinstance=0\n",
        b"1700000000\tended\tmain\tinstance=0\texit=256\tcause=exited\n",
        b"1700000000\tended\tmain\tinstance=0\texit=-1\tcause=exited\n",
        b"1700000000\tended\tmain\tinstance=0\texit\tcause=exited\n",
        b"\0" * 512 + b"\n",
    ]
)


def test_every_event_is_read() -> None:
    assert parse(b"".join(line for line, _ in GOOD)) == [event for _, event in GOOD]


@given(st.lists(LINES | GARBAGE), LINES, st.data())
def test_garbage_and_a_torn_last_line_hide_nothing_else(lines: list[bytes], last: bytes, data: st.DataObject) -> None:
    torn = last[: data.draw(st.integers(0, len(last) - 1))]
    known = dict(GOOD)
    assert parse(b"".join(lines) + torn) == [known[line] for line in lines if line in known]


@given(st.binary())
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    assert isinstance(parse(content), list)


@given(st.binary(), st.binary())
def test_what_was_read_stays_when_more_is_written(first: bytes, more: bytes) -> None:
    before = parse(first)
    assert parse(first + more)[: len(before)] == before
