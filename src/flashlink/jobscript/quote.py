"""The one way by which a value enters a script."""

from __future__ import annotations

import shlex


def quote(text: str) -> str:
    """One word of bash that is exactly `text`: newlines, quotes, backslashes, dollars and the empty string included.

    Raises:
        ValueError: `text` holds a NUL, which no argument or variable of a process can hold.
    """
    if "\0" in text:
        raise ValueError("a NUL cannot be in an argument or variable of a process")
    return shlex.quote(text)


def call(function: str, *words: str) -> str:
    """A call of `function` of the runtime, each of `words` one argument."""
    return " ".join([function, *map(quote, words)])
