"""Commands where Slurm's are: as data into one fixed shell text, and their answers out of what it says.

Pure: `request` gives the bytes for the standard input of a bash, `answers` reads its standard output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from flashlink.errors import SiteError

_BEGIN, _END = b"flashlink-begin\0", b"flashlink-end\0"

#: What ``timeout`` returns of a command that took too long.
TIMED_OUT = (124, 137)


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run.

    Attributes:
        words: Program and arguments; without NUL.
        input: For its standard input; without NUL.
        seconds: After which it is ended.
    """

    words: tuple[str, ...]
    input: str = ""
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said.

    Attributes:
        output: Standard output.
        errors: Standard error.
        status: Exit status.
    """

    output: str
    errors: str
    status: int

    @property
    def problem(self) -> str:
        """Its errors as one line."""
        lines = (line.strip() for line in self.errors.splitlines())
        return "; ".join(line for line in lines if line) or f"exit status {self.status}"


@cache
def text(name: str) -> str:
    """One of the shell texts of this package."""
    return files(__package__).joinpath(name).read_text("utf-8")


def request(commands: Sequence[Command]) -> bytes:
    """The shell text and the commands.

    Raises:
        ValueError: A NUL, which no argument can hold.
    """
    return text("commands.sh").encode() + b"".join(map(_frame, commands))


def answers(said: bytes, count: int) -> list[Answer]:
    """The answers of `count` commands.

    Raises:
        SiteError: Transient: this is not a whole answer.
    """
    before, begin, rest = said.partition(_BEGIN)
    whole, end, _ = rest.rpartition(_END)
    if not begin or not end:
        shown = " ".join((rest if begin else before).decode("utf-8", "replace").split())[-200:]
        raise SiteError(
            f"no whole answer from the shell where Slurm's commands are: {shown or 'nothing'}", transient=True
        )
    parts = whole.decode("utf-8", "replace").split("\0")
    if len(parts) != 3 * count + 1 or not all(status.isdecimal() for status in parts[2::3]):
        raise SiteError(f"{len(parts) // 3} answers to {count} commands from Slurm's side", transient=True)
    return [Answer(parts[at], parts[at + 1], int(parts[at + 2])) for at in range(0, 3 * count, 3)]


def _frame(command: Command) -> bytes:
    given = command.input.encode()
    words = [word.encode() for word in command.words]
    if any(b"\0" in each for each in (given, *words)):
        raise ValueError("a NUL cannot be in a command")
    head = f"{len(words)} {len(given)} {command.seconds}".encode()
    return b"".join((head, b"\0", given, *(word + b"\0" for word in words)))
