"""Names that a pod's author chooses and that end up in paths, tables and shell variables: checked before that."""

from __future__ import annotations

import posixpath
import re

from flashlink.pods.value import Value

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]{0,63}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9/][-A-Za-z0-9._~+=@:/]{0,1023}", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]*(\.[A-Za-z0-9][-A-Za-z0-9]*)*", re.ASCII)

#: Limits of Linux on a path and on one name in it.
_PATH_MAX, _NAME_MAX = 4095, 255


def label(value: Value) -> str:
    """A DNS label, as names of containers, volumes and namespaces are."""
    return _matching(value, _LABEL, "a DNS label (a-z, 0-9 and '-', 63 characters at most)")


def subdomain(value: Value) -> str:
    """A DNS subdomain, as names of pods are."""
    name = _matching(value, _SUBDOMAIN, "a DNS subdomain (a-z, 0-9, '-' and '.', 253 characters at most)")
    if len(name) > 253:
        raise value.wrong("a DNS subdomain (a-z, 0-9, '-' and '.', 253 characters at most)")
    return name


def uid(value: Value) -> str:
    """A pod's uid: letters, digits and dashes only."""
    return _matching(value, _UID, "a uid of letters, digits and '-', 64 characters at most")


def variable(value: Value) -> str:
    """The name of an environment variable that a shell can hand on."""
    return _matching(value, _VARIABLE, "a variable name of letters, digits and '_' that starts with no digit")


def image(value: Value) -> str:
    """An image reference; what it means is the site's business."""
    return _matching(value, _IMAGE, "an image reference")


def repository(value: Value) -> str:
    """A CVMFS repository, as ``lhcb.cern.ch``."""
    return _matching(value, _REPOSITORY, "the name of a CVMFS repository")


def absolute_path(value: Value) -> str:
    """An absolute path without ``..`` or control characters, normalised."""
    path = value.text()
    if not path.startswith("/") or not _sound(path):
        raise value.wrong("an absolute path without '..'")
    # POSIX lets // at the start mean something else, and normpath keeps it.
    return posixpath.normpath("/" + path.lstrip("/"))


def mount_path(value: Value) -> str:
    """Where a volume appears in a container: an absolute path below / without ``..`` or ``:``."""
    path = absolute_path(value)
    if path == "/" or ":" in path:
        raise value.wrong("an absolute path below '/' without '..' or ':'")
    return path


def inner_path(value: Value, text: str | None = None) -> str:
    """A path inside a volume: relative, without ``..`` or control characters, normalised; "" for the volume itself.

    Args:
        value: The field, for its place.
        text: The path, where it is not the field as written.
    """
    path = value.text() if text is None else text
    if path.startswith("/") or not _sound(path):
        # Shown as written: what variables have put into it may be secret.
        raise value.wrong("a relative path without '..'" + (" once its variables are in place" if text else ""))
    inner = posixpath.normpath(path)
    return "" if inner == "." else inner


def _sound(path: str) -> bool:
    parts = path.split("/")
    fits = len(path.encode()) <= _PATH_MAX and all(len(part.encode()) <= _NAME_MAX for part in parts)
    return fits and ".." not in parts and not any(character < " " or character == "\x7f" for character in path)


def _matching(value: Value, form: re.Pattern[str], expected: str) -> str:
    if not isinstance(value.raw, str) or not form.fullmatch(value.raw):
        raise value.wrong(expected)
    return value.raw
