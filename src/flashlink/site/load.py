"""Read a site's file: TOML or YAML into `flashlink.site.config.Site`, with the variables of the environment on top.

A variable ``FLASHLINK_SITE__<KEY>`` stands over a key of the file; ``__`` goes down a table: ``FLASHLINK_SITE__LISTEN``
is `listen`, ``FLASHLINK_SITE__BATCH__CPUS`` is `cpus` of ``[batch]``. Lists and tables are written as JSON:
``FLASHLINK_SITE__VOLUMES__HOST_PATHS='["/data"]'``.
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import yaml

from flashlink.errors import RequestError, wrong
from flashlink.pods import quantity
from flashlink.site import listen
from flashlink.site.config import Reports, Site
from flashlink.state import state_home

PREFIX = "FLASHLINK_SITE__"

#: Less than that of a log would be no help to anybody.
SMALLEST_LOG = 64 * 1024

_AT = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(.+?)`(?:, got `.+`| (.+))?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)
_HTTPS = re.compile(r"https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", re.ASCII)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)

_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "object": "a table", "array": "a list"}


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Site:
    """The site of a file, or the defaults without one.

    Args:
        path: ``.toml``, ``.yaml``, ``.yml`` or ``.json``.
        environ: The environment, for the variables that stand over the file.

    Raises:
        RequestError: The file cannot be read, or a key is unknown or wrong; names file, key, value, expectation.
    """
    source = "the default site" if path is None else str(path)
    data = {} if path is None else _read(path)
    site: Site = _convert(data, Site, source)
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        data = _overridden(data, name, environ[name])
        # Converted after each, so that an error names the variable and not the file.
        site = _convert(data, Site, name)
    _check(site, source if path is not None else "site")
    return site


def schema(kind: type[msgspec.Struct] = Site) -> dict[str, Any]:
    """The JSON Schema of a site's file, or of another table; each key has the words of its class's docstring."""
    found = msgspec.json.schema(kind)
    for table in found["$defs"].values():
        about, _, attributes = inspect.cleandoc(table["description"]).partition("\n\nAttributes:\n")
        table["description"] = " ".join(about.split())
        for key, words in _ATTRIBUTE.findall(attributes):
            table["properties"][key]["description"] = " ".join(words.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def state_folder(site: Site) -> Path:
    """Where the plugin keeps its books: `site.state`, else a folder of the site's name in the XDG state home."""
    return Path(site.state).expanduser().absolute() if site.state else state_home() / "sites" / site.name


def work_folder(site: Site) -> Path:
    """Where the pods' folders lie on the workers: `site.work`, else ``work`` in the state folder."""
    return Path(site.work).expanduser().absolute() if site.work else state_folder(site) / "work"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else _yaml(path, text)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}; give the file of a site") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path}: not a text file in UTF-8") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "YAML"
        raise RequestError(f"{path}: not {kind}: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise wrong(str(path), data, "a table of a site's keys")
    return data


def _yaml(path: Path, text: str) -> Any:
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise RequestError(f"{path}: a site is a .toml, .yaml or .json file; rename it")
    return yaml.safe_load(text)


def _overridden(data: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    """`data` with the value of one variable in its place."""
    keys = name.removeprefix(PREFIX).lower().split("__")
    kind = _type_of(keys, name)
    value = _value(text, kind, name)
    whole = dict(data)
    table = whole
    for key in keys[:-1]:
        below = table.get(key)
        table[key] = dict(below) if isinstance(below, dict) else {}
        table = table[key]
    table[keys[-1]] = value
    return whole


def _type_of(keys: list[str], name: str) -> Any:
    """The type of the key that a variable names."""
    kind: Any = Site
    for key in keys:
        known = _fields(kind)
        if key not in known:
            raise RequestError(f"{name}: names no key of a site; {_nearest(key, known)}")
        kind = known[key]
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    """Keys and their types, where `kind` is a table of known keys."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)} if _is_table(kind) else {}


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _value(text: str, kind: Any, name: str) -> Any:
    """The text of a variable as the type of its key."""
    if not _is_table(kind) and get_origin(kind) not in {list, dict}:
        return _convert(text, kind, name, strict=False)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise wrong(name, text, "JSON, in which lists and tables are written") from None


def _convert(data: Any, kind: Any, source: str, *, strict: bool = True) -> Any:
    """`data` as `kind`, or one line that names source and key."""
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _explained(str(error), data, kind, source) from None


def _explained(message: str, data: Any, kind: Any, source: str) -> RequestError:
    """What msgspec says, in flashlink's words: the place, the value seen, what was expected."""
    match = _AT.fullmatch(message)
    said, where = (match[1], match[2] or "") if match else (message, "")
    within = where.endswith("[...]")
    where = where.removesuffix("[...]")
    seen = data
    for step in _STEP.finditer(where):
        kind = _fields(kind).get(step[1], kind) if step[1] else kind
        seen = seen[step[1]] if step[1] else seen[int(step[2])]
    if unknown := _UNKNOWN.fullmatch(said):
        key = f"{where}.{unknown[1]}" if where else unknown[1]
        return RequestError(f"{source}: {key}: no key of a site; {_nearest(unknown[1], _fields(kind))}")
    expected = _expectation(said, kind)
    place = f"{source}: {where}" if where else source
    return wrong(place, seen, f"a table of which each value is {expected}" if within else expected)


def _expectation(said: str, kind: Any) -> str:
    """What msgspec expected, as a noun phrase."""
    if said.startswith("Invalid enum value"):
        return "one of " + ", ".join(repr(word) for word in get_args(kind))
    if "matching regex" in said:
        return "a DNS label (a-z, 0-9 and '-', 63 characters at most)"
    expected = _EXPECTED.fullmatch(said)
    if expected is None:
        return said
    return _WORDS.get(expected[1], expected[1]) + (f" {expected[2]}" if expected[2] else "")


def _nearest(key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"


def _check(site: Site, source: str) -> None:
    """What types alone cannot say."""
    listen.parse(site.listen, f"{source}: listen")
    quantity.size(site.batch.memory or None, f"{source}: batch.memory")
    quantity.size(site.limits.memory, f"{source}: limits.memory")
    _check_reports(site.reports, source)
    if 0 < quantity.size(site.limits.log_size, f"{source}: limits.log_size") < SMALLEST_LOG:
        raise wrong(f"{source}: limits.log_size", site.limits.log_size, "at least 64Ki, or 0 to keep all of each log")
    paths = {
        "images.folders": site.images.folders,
        "images.cache": [site.images.cache] if site.images.cache else [],
        "volumes.host_paths": site.volumes.host_paths,
        "volumes.claims": list(site.volumes.claims.values()),
        "volumes.cvmfs": [site.volumes.cvmfs] if site.volumes.cvmfs else [],
        "containers.path": site.containers.path,
    }
    for key, folders in paths.items():
        for folder in folders:
            if not folder.startswith("/") or ".." in folder.split("/") or "\0" in folder:
                raise wrong(f"{source}: {key}", folder, "an absolute path without '..'")


def _check_reports(reports: Reports, source: str) -> None:
    """Either nothing of it, or all that is needed."""
    quantity.size(reports.file_size, f"{source}: reports.file_size")
    if not reports.listen:
        return
    listen.parse(reports.listen, f"{source}: reports.listen")
    if not _HTTPS.fullmatch(reports.url):
        raise wrong(f"{source}: reports.url", reports.url, "https://HOST:PORT, as workers reach the plugin")
    for key in ("certificate", "key"):
        if not getattr(reports, key):
            raise RequestError(f"{source}: reports.{key}: missing; reports travel by HTTPS, so give its file")
