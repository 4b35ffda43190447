"""What the files of running jobs have grown by: asked for by one question about all of them. Pure.

The far side compares the sizes of what is there with those of what is here (`growth.sh`), so the answer holds nothing
but news. Where there is more than fits, or the file system is slow, it says of how many jobs it told; the others come
first in the next question.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flashlink.batch.slurm.commands import Answer, Command, text
from flashlink.batch.slurm.fetching import MOST, MOST_OF_FILE, is_written_by_job
from flashlink.errors import SiteError

#: After so many seconds, or so many pieces of files, the far side begins with no further job.
LOOK, MOST_PIECES = 5, 1000

_GROWN = re.compile(r"grown ([A-Za-z0-9_-]{1,64})/(\S+) ([0-9]{1,15}) ([0-9]{1,15}) ([0-9]{1,9})", re.ASCII)
_GONE = re.compile(r"gone ([A-Za-z0-9_-]{1,64})/(logs/\S+)", re.ASCII)
_LOOKED = re.compile(r"looked ([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grown:
    """Bytes of a file from `offset` on; the file has `size` bytes at the site."""

    name: str
    offset: int
    size: int
    content: bytes


@dataclass(slots=True)
class News:
    """What is new of one job: what its files have grown by, the journal last, and logs that it keeps no longer."""

    grown: list[Grown] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the journal may be read: all that its job had written when it told of it is here."""
        return all(len(each.content) < MOST_OF_FILE for each in self.grown if each.name != "journal")


def growth(root: str, here: Mapping[str, Mapping[str, int]], seconds: int) -> Command:
    """Asks what the files of jobs have grown by.

    Args:
        root: The folder at the site that holds the jobs' folders.
        here: Uid to names and sizes of what is here, in the order in which the jobs are looked at.
        seconds: After which there is no answer.
    """
    known = (f"{size} {uid}/{name}\n" for uid, files in here.items() for name, size in files.items())
    bounds = (LOOK, MOST, MOST_PIECES, MOST_OF_FILE)
    words = ("bash", "-c", text("growth.sh"), root, *map(str, bounds))
    return Command(words, "".join((" ".join(here), "\n", *known)), seconds)


def news(answer: Answer) -> tuple[dict[str, News], int]:
    """By uid what is new, and how many of the jobs that were asked about it is of; by the answer to `growth`.

    Raises:
        SiteError: Transient: this is no whole answer.
    """
    lines = answer.output.split("\n")
    at = next((at for at, line in enumerate(lines) if line.startswith("looked ")), -1)
    looked = _LOOKED.fullmatch(lines[at])
    if looked is None or len(lines) != at + 2:
        raise SiteError(f"no whole answer from where the jobs' files are: {answer.problem}", transient=True)
    try:
        return _news(lines[:at], base64.b64decode(lines[-1], validate=True)), int(looked[1])
    except (binascii.Error, ValueError) as error:
        raise SiteError(f"no whole answer from where the jobs' files are: {error}", transient=True) from None


def _news(lines: Sequence[str], content: bytes) -> dict[str, News]:
    found: dict[str, News] = {}
    at = 0
    for line in lines:
        if grown := _GROWN.fullmatch(line):
            uid, name = grown[1], grown[2]
            size, offset, count = map(int, grown.groups()[2:])
            if is_written_by_job(name):
                found.setdefault(uid, News()).grown.append(Grown(name, offset, size, content[at : at + count]))
            at += count
        elif gone := _GONE.fullmatch(line):
            found.setdefault(gone[1], News()).gone.append(gone[2])
    if at != len(content):  # a file has become shorter meanwhile: whose bytes are whose?
        raise ValueError(f"{len(content)} bytes in place of {at}")
    return found
