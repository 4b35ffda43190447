"""The volumes of a pod, with the contents that interLink sends beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from flashlink.pods import downward, fields, names, quantity
from flashlink.pods.pod import Claim, Cvmfs, EmptyDir, File, Files, Fuse, HostPath, Volume
from flashlink.pods.value import Value

CVMFS = "cvmfs.vk.io/"
FUSE = "fuse.vk.io/"

_HOST_PATH_TYPES = ("", "Directory", "DirectoryOrCreate", "File", "FileOrCreate")
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Contents:
    """The objects that came with a pod, of all its containers: config maps and secrets by name, projected by volume."""

    config_maps: dict[str, Value] = field(default_factory=dict)
    secrets: dict[str, Value] = field(default_factory=dict)
    projected: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, containers: Value) -> Self:
        """Read interLink's ``container`` list."""
        contents = cls()
        kinds = {
            "configMaps": contents.config_maps,
            "secrets": contents.secrets,
            "projectedvolumemaps": contents.projected,
        }
        for container in containers.each():
            for kind, known in kinds.items():
                known.update({one["metadata"]["name"].text(): one for one in container[kind].each()})
        return contents


def volume(value: Value, pod: Value, contents: Contents) -> Volume:
    """The volume that ``spec.volumes`` entry `value` of `pod` describes.

    Raises:
        RequestError: It is of a kind that flashlink cannot mount, is not well formed, or came without its contents.
    """
    name = names.label(value["name"])
    annotations = pod["metadata"]["annotations"]
    if annotations[CVMFS + name].given:
        return Cvmfs(name, names.repository(annotations[CVMFS + name]))
    if annotations[FUSE + name].given:
        return Fuse(name, annotations[FUSE + name].text())
    fields.check(value, fields.VOLUME, "volume")
    given = [kind for kind, source in value.items() if kind != "name" and source.given]
    if len(given) > 1:
        raise value.refuse(f"is {' and '.join(given)} at once; leave one")
    source = value[given[0]] if given else Value(None, value.place)
    fields.check_source(source, given[0] if given else "emptyDir")
    match given:
        case ["configMap"]:
            return Files(name, _checked(value, _config_map(source, contents, _mode(source["defaultMode"]))))
        case ["secret"]:
            files = _secret(source, source["secretName"], contents, _mode(source["defaultMode"]))
            return Files(name, _checked(value, files))
        case ["projected"]:
            return _projected(value, pod, contents)
        case ["downwardAPI"]:
            return Files(name, _checked(value, _downward_volume(value, pod, contents)))
        case ["hostPath"]:
            return HostPath(name, names.absolute_path(source["path"]), source["type"].one_of(_HOST_PATH_TYPES, ""))
        case ["persistentVolumeClaim"]:
            return Claim(name, names.subdomain(source["claimName"]))
        case _:
            in_memory = source["medium"].one_of(("", "Memory"), "") == "Memory"
            return EmptyDir(name, in_memory, quantity.size(source["sizeLimit"].raw, source["sizeLimit"].place))


def _config_map(source: Value, contents: Contents, mode: int) -> list[File]:
    found = contents.config_maps.get(source["name"].text())
    if found is None:
        return _absent(source, f"config map {source['name'].raw!r}")
    plain = {key: value.utf8() for key, value in found["data"].items()}
    return _picked(source, plain | _decoded(found["binaryData"]), mode)


def _secret(source: Value, name: Value, contents: Contents, mode: int) -> list[File]:
    """Files of a secret; volumes and projected sources call the field with its name differently."""
    found = contents.secrets.get(name.text())
    if found is None:
        return _absent(source, f"secret {name.raw!r}")
    written = {key: value.utf8() for key, value in found["stringData"].items()}
    return _picked(source, _decoded(found["data"]) | written, mode)


def _absent(source: Value, what: str) -> list[File]:
    """No files, if that is allowed."""
    if source["optional"].boolean():
        return []
    raise source.refuse(f"{what} did not come with the pod; create it, or mark it optional")


def _picked(source: Value, data: Mapping[str, bytes], mode: int) -> list[File]:
    """The files that ``items`` picks of `data`, or all."""
    if not source["items"]:
        return [File(_file_path(Value(key, f"{source.place}, a key")), content, mode) for key, content in data.items()]
    files = []
    for item in source["items"].each():
        content = data.get(item["key"].text())
        if content is not None:
            files.append(File(_file_path(item["path"]), content, _mode(item["mode"], mode)))
        elif not source["optional"].boolean():
            raise item["key"].wrong("one of its keys: " + (", ".join(sorted(data)) or "there are none"))
    return files


def _projected(value: Value, pod: Value, contents: Contents) -> Files:
    """A projected volume: one map for all that interLink projects itself; secrets among its sources come as secrets."""
    projected = value["projected"]
    mode = _mode(projected["defaultMode"])
    delivered = contents.projected.get(value["name"].text())
    modes: dict[str, int] = {}
    files: list[File] = []
    for source in projected["sources"].each():
        fields.check(source, fields.PROJECTION, "projected volume's source")
        for kind, part in source.items():
            fields.check_source(part, kind)
        if source["secret"].given:
            files += _secret(source["secret"], source["secret"]["name"], contents, mode)
        elif delivered is not None:
            items = [item for _, part in source.items() for item in part["items"].each()]
            modes |= {_file_path(item["path"]): _mode(item["mode"], mode) for item in items}
        elif source["downwardAPI"].given:
            files += _downward(source["downwardAPI"], pod, mode)
        else:
            kind = next((key for key, part in source.items() if part.given), "nothing")
            files += _absent(source[kind], f"the {kind} of a projected volume")
    return Files(value["name"].text(), _checked(value, _map(delivered, modes, mode) + files))


def _downward_volume(value: Value, pod: Value, contents: Contents) -> list[File]:
    """Downward API files as interLink sent them, else as this pod tells them."""
    source, delivered = value["downwardAPI"], contents.projected.get(value["name"].text())
    mode = _mode(source["defaultMode"])
    if delivered is None:
        return _downward(source, pod, mode)
    modes = {_file_path(item["path"]): _mode(item["mode"], mode) for item in source["items"].each()}
    return _map(delivered, modes, mode)


def _downward(source: Value, pod: Value, mode: int) -> list[File]:
    return [
        File(
            _file_path(item["path"]),
            (
                downward.field(pod, item["fieldRef"])
                if item["fieldRef"].given
                else downward.resource(pod, item["resourceFieldRef"], "")
            ).encode(),
            _mode(item["mode"], mode),
        )
        for item in source["items"].each()
    ]


def _map(delivered: Value | None, modes: Mapping[str, int], mode: int) -> list[File]:
    """The files of a map from path to text."""
    if delivered is None:
        return []
    data = {key: value.utf8() for key, value in delivered["data"].items()} | _decoded(delivered["binaryData"])
    paths = {key: _file_path(Value(key, f"{delivered.place}, a path")) for key in data}
    return [File(path, data[key], modes.get(path, mode)) for key, path in paths.items()]


def _checked(value: Value, files: list[File]) -> tuple[File, ...]:
    """The files, the last of each path, in order of path; a path cannot be a file and a folder."""
    by_path = {file.path: file for file in files}
    for path in by_path:
        parent = next((other for other in _parents(path) if other in by_path), None)
        if parent is not None:
            raise value.refuse(f"{parent!r} would be a file and, for {path!r}, a folder")
    return tuple(by_path[path] for path in sorted(by_path))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _file_path(value: Value) -> str:
    path = names.inner_path(value)
    if not path:
        raise value.wrong("the path of a file in the volume")
    return path


def _mode(value: Value, default: int = _MODE) -> int:
    mode = value.integer(0, 0o777)
    return default if mode is None else mode


def _decoded(data: Value) -> dict[str, bytes]:
    """An object of base64 texts."""
    return {key: _bytes(value) for key, value in data.items()}


def _bytes(value: Value) -> bytes:
    try:
        return base64.b64decode(value.text(), validate=True)
    except ValueError:
        # The value may be a secret, so it is not shown.
        raise value.refuse("is not base64") from None
