"""What commands print: tables, JSON, and the bytes of logs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:  # imported when something is drawn: it takes a while
    from rich.table import Table


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, plain columns two spaces apart elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(drawn(headings, rows))
        return
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        show_row(line, widths)


def show_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """Print a row of a plain table, its cells padded to `widths`."""
    click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def drawn(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table as a terminal shows it; cells that are too long are folded, never cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    return table


def show_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def write(piece: bytes) -> None:
    """Write bytes of a log at once; a reader that has gone (``| head``) ends the command without a word."""
    try:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is left in the buffer would raise again when Python closes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


class Prefixed:
    """Writes logs of several containers line by line, each line after the name of its container."""

    def __init__(self) -> None:
        self._begun: dict[str, bytes] = {}

    def write(self, name: str, piece: bytes) -> None:
        """Take a piece of the log of `name`, and write the lines that it completes."""
        whole, newline, begun = (self._begun.get(name, b"") + piece).rpartition(b"\n")
        self._begun[name] = begun
        if newline:
            write(b"".join(self._line(name, line) for line in whole.split(b"\n")))

    def close(self) -> None:
        """Write the last lines, which had no newline."""
        for name, begun in self._begun.items():
            if begun:
                write(self._line(name, begun))

    @staticmethod
    def _line(name: str, line: bytes) -> bytes:
        return b"[" + name.encode() + b"] " + line + b"\n"
