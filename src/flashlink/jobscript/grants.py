"""What of the worker, of the batch system and of the container runtime a site grants to a pod's author."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from flashlink.errors import SiteError, wrong

_OPTION = re.compile(
    r"--(?P<long>[a-z][a-z0-9-]*)(=(?P<value>.*))?|-(?P<short>[A-Za-z])(?P<glued>.*)", re.ASCII | re.DOTALL
)

#: Short options of sbatch and of ``apptainer exec``, each in front of its long one; none means two things in both.
_SHORT = {
    word[0]: word[1:]
    for word in (
        *("Aaccount", "ccpus-per-task", "Cconstraint", "Ggpus", "Llicenses", "Nnodes", "nntasks", "ppartition"),
        *("qqos", "ttime", "wnodelist", "xexclude", "Bbind", "ecleanenv", "Sscratch", "ooverlay"),
    )
}


def below(path: str, folders: Iterable[str]) -> PurePosixPath | None:
    """`path` if it is one of `folders` or below one; None if it is not, or is not plain."""
    wanted = PurePosixPath("/" + path.strip("/"))
    if not path.startswith("/") or ".." in wanted.parts:
        return None
    return wanted if any(wanted.is_relative_to(PurePosixPath(folder)) for folder in folders) else None


def granted_options(text: str, granted: Iterable[str], place: str, key: str) -> tuple[tuple[str, str], ...]:
    """The options in a command line of a pod's author, all of which the site grants.

    Args:
        text: As ``--nv --env A=1 -p short``; a word that begins with no dash is the value of the option before it.
        granted: ``--name`` for any value, ``--name=value`` for that one.
        place: The annotation.
        key: The key of the site's file that grants them.

    Returns:
        Long names without dashes, and values; "" for an option without one.

    Raises:
        RequestError: It is not a list of options.
        SiteError: The site does not grant one of them.
    """
    found = tuple(_options(text, place))
    for name, value in found:
        if not {f"--{name}", f"--{name}={value}"} & set(granted):
            shown = f"--{name}={value}" if value else f"--{name}"
            allowed = ", ".join(granted) or "none"
            raise SiteError(f"{place}: this site does not grant {shown} ({key}); granted are: {allowed}")
    return found


def _options(text: str, place: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise wrong(place, text, f"a list of options: {error}") from None
    while words:
        word = words.pop(0)
        match = _OPTION.fullmatch(word)
        if match is None:
            raise wrong(place, word, "an option", "write --name, --name=value or --name value")
        name = match["long"] or _SHORT.get(match["short"], "")
        if not name:
            raise wrong(place, word, "an option that flashlink knows", "write its long form")
        value = match["value"] or match["glued"] or ""
        if not value and words and not words[0].startswith("-"):
            value = words.pop(0)
        yield name, value
