"""What of the worker's paths a site grants."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def below(path: str, folders: Iterable[str]) -> PurePosixPath | None:
    """`path` if it is one of `folders` or below one; None if it is not, or is not plain."""
    wanted = PurePosixPath("/" + path.strip("/"))
    if not path.startswith("/") or ".." in wanted.parts:
        return None
    return wanted if any(wanted.is_relative_to(PurePosixPath(folder)) for folder in folders) else None
