"""What a job must hand to the containers of a pod, read from its create request in the plainest way.

Written from Kubernetes' documentation and apart from `flashlink.pods`, so that the two can be held against each other.
"""

from __future__ import annotations

import posixpath
from base64 import b64decode
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Given:
    """What a container is given.

    Attributes:
        command: The whole command line, or None where the image's own entry point runs.
        args: Arguments of the image's own entry point.
        mounts: Path in the container to the volume there, the path in the volume, and whether it is read-only.
    """

    name: str
    command: list[str] | None
    args: list[str]
    env: dict[str, str]
    working_dir: str
    mounts: dict[str, tuple[str, str, bool]]


def containers(request: dict[str, Any]) -> list[Given]:
    """What each container of the job is given, init containers first."""
    pod = request["pod"]
    annotations = pod["metadata"].get("annotations") or {}
    spec = pod["spec"]
    away = _listed(annotations, "interlink.eu/disable-offload-containers")
    away_init = _listed(annotations, "interlink.eu/disable-offload-init-containers")
    inits = [each for each in spec.get("initContainers") or [] if each["name"] not in away_init]
    claims = {
        volume["name"]: bool(volume["persistentVolumeClaim"].get("readOnly"))
        for volume in spec.get("volumes") or []
        if isinstance(volume.get("persistentVolumeClaim"), dict)  # an annotation takes any kind for no more than a name
    }
    return [_given(each, claims) for each in inits + [each for each in spec["containers"] if each["name"] not in away]]


def _given(container: dict[str, Any], claims: dict[str, bool]) -> Given:
    env = _env(container)
    command = [expanded(word, env) for word in container.get("command") or []]
    args = [expanded(word, env) for word in container.get("args") or []]
    working_dir = container.get("workingDir") or ""
    return Given(
        name=container["name"],
        command=command + args if command else None,
        args=[] if command else args,
        env=env,
        working_dir=_absolute(working_dir) if working_dir else "",
        mounts={
            _absolute(each["mountPath"]): (
                each["name"],
                _part(each, env),
                bool(each.get("readOnly")) or claims.get(each["name"], False),
            )
            for each in container.get("volumeMounts") or []
        },
    )


def _env(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value") or "" for each in container.get("env") or []}


def _part(mount: dict[str, Any], env: dict[str, str]) -> str:
    part = posixpath.normpath(mount.get("subPath") or expanded(mount.get("subPathExpr") or "", env) or ".")
    return "" if part == "." else part


def expanded(text: str, env: dict[str, str]) -> str:
    """``$(NAME)`` replaced, ``$$`` a dollar, all else as it is; read from left to right."""
    out, rest = "", text
    while rest:
        before, dollar, rest = rest.partition("$")
        out += before
        if rest.startswith("$"):
            out, rest = out + "$", rest[1:]
        elif rest.startswith("(") and ")" in rest:
            name, _, rest = rest[1:].partition(")")
            out += env.get(name, f"$({name})")
        else:
            out += dollar
    return out


def files(request: dict[str, Any], volume: dict[str, Any]) -> dict[str, tuple[bytes | None, int]]:
    """The files of a volume: path to content, where it is not the downward API's, and mode."""
    beside = [each for each in request["container"] or [] if each]
    kind, source = next(((kind, source) for kind, source in volume.items() if kind != "name" and source is not None))
    default = _mode(source.get("defaultMode"), 0o644)
    sent = next((each for one in beside for each in one.get("projectedvolumemaps") or [] if _named(each, volume)), None)
    if kind == "configMap":
        return _picked(source, _config_map(beside, source), default)
    if kind == "secret":
        return _picked(source, _secret(beside, source["secretName"]), default)
    if kind == "downwardAPI":
        return _told(source, default, sent)
    found = _map(sent, {}, default)
    for projection in source.get("sources") or []:
        if projection.get("secret") is not None:
            found |= _picked(projection["secret"], _secret(beside, projection["secret"]["name"]), default)
        elif projection.get("downwardAPI") is not None and sent is None:
            found |= _told(projection["downwardAPI"], default, None)
    return found


def _told(source: dict[str, Any], default: int, sent: dict[str, Any] | None) -> dict[str, tuple[bytes | None, int]]:
    modes = {posixpath.normpath(each["path"]): _mode(each.get("mode"), default) for each in source.get("items") or []}
    return _map(sent, modes, default) if sent else {path: (None, mode) for path, mode in modes.items()}


def _map(sent: dict[str, Any] | None, modes: dict[str, int], default: int) -> dict[str, tuple[bytes | None, int]]:
    if not sent:
        return {}
    data = {posixpath.normpath(path): text.encode() for path, text in (sent.get("data") or {}).items()}
    return {path: (content, modes.get(path, default)) for path, content in data.items()}


def _config_map(beside: list[dict[str, Any]], source: dict[str, Any]) -> dict[str, bytes]:
    for one in beside:
        for each in one.get("configMaps") or []:
            if _named(each, source):
                plain = {key: text.encode() for key, text in (each.get("data") or {}).items()}
                return plain | {key: b64decode(text) for key, text in (each.get("binaryData") or {}).items()}
    return {}


def _secret(beside: list[dict[str, Any]], name: str) -> dict[str, bytes]:
    for one in beside:
        for each in one.get("secrets") or []:
            if _named(each, {"name": name}):
                return {key: b64decode(text) for key, text in (each.get("data") or {}).items()}
    return {}


def _picked(source: dict[str, Any], data: dict[str, bytes], default: int) -> dict[str, tuple[bytes | None, int]]:
    if not data:  # of what is optional and absent, items say nothing
        return {}
    items = source.get("items") or [{"key": key, "path": key} for key in data]
    return {
        posixpath.normpath(item["path"]): (data[item["key"]], _mode(item.get("mode"), default))
        for item in items
        if item["key"] in data
    }


def leads_through_a_file(request: dict[str, Any], container: dict[str, Any], mount: dict[str, Any]) -> bool:
    """Whether the sub-path of a container's mount goes on where the volume has a file."""
    volume = next(volume for volume in request["pod"]["spec"]["volumes"] if volume["name"] == mount["name"])
    part = PurePosixPath(_part(mount, _env(container)))
    return any(PurePosixPath(path) in part.parents for path in files(request, volume))


@dataclass(frozen=True)
class Names:
    """What a pod says of names.

    Attributes:
        hosts: Lines of ``/etc/hosts`` after the worker's.
        resolver: Lines of ``/etc/resolv.conf``.
        with_worker: Whether those come after the worker's.
    """

    hostname: str
    hosts: list[str]
    resolver: list[str]
    with_worker: bool


def names(request: dict[str, Any]) -> Names:
    """The names in the spec of a pod."""
    spec = request["pod"]["spec"]
    hostname = spec.get("hostnameOverride") or spec.get("hostname") or request["pod"]["metadata"]["name"]
    aliases = [" ".join([alias["ip"], *alias["hostnames"]]) for alias in spec.get("hostAliases") or []]
    config = spec.get("dnsConfig") or {}
    searches = config.get("searches") or []
    return Names(
        hostname,
        [f"127.0.0.1 {hostname}"] * bool(hostname) + aliases,
        [f"nameserver {server}" for server in config.get("nameservers") or []]
        + [f"search {' '.join(searches)}"] * bool(searches)
        + [f"options {':'.join(_option(option))}" for option in config.get("options") or []],
        spec.get("dnsPolicy") != "None",
    )


def _option(option: dict[str, str]) -> list[str]:
    return [option["name"], option["value"]] if option.get("value") else [option["name"]]


def _mode(mode: int | None, default: int) -> int:
    return default if mode is None else mode


def _named(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["metadata"]["name"] == other.get("name"))


def _listed(annotations: dict[str, str], key: str) -> set[str]:
    return {name.strip() for name in annotations.get(key, "").split(",")} - {""}


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
