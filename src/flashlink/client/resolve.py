"""What the virtual kubelet does to a pod before interLink sees it: variables resolved, volume contents put beside it.

The objects that a pod refers to come from the manifests themselves, as there is no cluster to ask.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flashlink.pods import downward, fields
from flashlink.pods.expand import expand
from flashlink.pods.value import Value

#: What Kubernetes takes as the name of a variable; other keys of an ``envFrom`` are skipped.
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Objects:
    """The config maps and secrets among the manifests, by namespace and name; secrets have base64 ``data`` only."""

    config_maps: dict[tuple[str, str], Value] = field(default_factory=dict)
    secrets: dict[tuple[str, str], Value] = field(default_factory=dict)

    def config_map(self, namespace: str, ref: Value, key: str = "name") -> Value | None:
        """The config map that `ref` names; None if it is optional and not there."""
        return _found(self.config_maps, "config map", namespace, ref, key)

    def secret(self, namespace: str, ref: Value, key: str = "name") -> Value | None:
        """The secret that `ref` names; None if it is optional and not there."""
        return _found(self.secrets, "secret", namespace, ref, key)


def environment(pod: Value, container: Value, objects: Objects) -> list[dict[str, str]]:
    """The ``env`` of `container` with ``envFrom``, ``valueFrom`` and ``$(VAR)`` resolved, in Kubernetes' order."""
    namespace = pod["metadata"]["namespace"].text("default")
    env: dict[str, str] = {}
    for source in container["envFrom"].each():
        prefix = source["prefix"].text("")
        for key, value in _all_of(source, namespace, objects).items():
            if _VARIABLE.fullmatch(prefix + key):
                env[prefix + key] = value
    for entry in container["env"].each():
        fields.check(entry, fields.UNRESOLVED_VARIABLE, "variable")
        if entry["valueFrom"]:
            value_from = _value_from(pod, container, entry["valueFrom"], objects)
            if value_from is None:
                continue
            value = value_from
        else:
            value = expand(entry["value"].text(""), env)
        env[entry["name"].text()] = value
    return [{"name": name, "value": value} for name, value in env.items()]


def contents(pod: Value, container: Value, objects: Objects) -> dict[str, Any]:
    """The entry of interLink's ``container`` list: the whole objects behind the volumes that it mounts."""
    namespace = pod["metadata"]["namespace"].text("default")
    volumes = {volume["name"].raw: volume for volume in pod["spec"]["volumes"].each()}
    mounted = {mount["name"].text(): mount["name"] for mount in container["volumeMounts"].each()}
    maps: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    projected: list[Any] = []
    for name, mount in mounted.items():
        volume = volumes.get(name)
        if volume is None:
            raise mount.wrong("the name of a volume of the pod")
        if volume["configMap"].given and (found := objects.config_map(namespace, volume["configMap"])):
            maps[found["metadata"]["name"].text()] = found.raw
        elif volume["secret"].given and (found := objects.secret(namespace, volume["secret"], "secretName")):
            secrets[found["metadata"]["name"].text()] = found.raw
        elif volume["projected"].given:
            projected.append(_projected(pod, container, volume, objects, secrets))
        elif volume["downwardAPI"].given:
            data = _downward(pod, container, volume["downwardAPI"])
            projected.append({"metadata": {"name": name, "namespace": namespace}, "data": data})
    return {
        "name": container["name"].text(),
        "configMaps": list(maps.values()),
        "projectedvolumemaps": projected,
        "secrets": list(secrets.values()),
        "emptyDirs": None,
    }


def _found(known: Mapping[tuple[str, str], Value], kind: str, namespace: str, ref: Value, key: str) -> Value | None:
    name = ref[key].text()
    found = known.get((namespace, name))
    if found is None and not ref["optional"].boolean():
        where = f" of namespace {namespace!r}" if namespace != "default" else ""
        raise ref.refuse(f"{kind} {name!r} is not among the manifests{where}; add it to the files")
    return found


def _all_of(source: Value, namespace: str, objects: Objects) -> dict[str, str]:
    """Every key of the object that an ``envFrom`` entry names."""
    if source["configMapRef"].given:
        found = objects.config_map(namespace, source["configMapRef"])
        return found["data"].table() if found else {}
    if source["secretRef"].given:
        found = objects.secret(namespace, source["secretRef"])
        return {key: _decoded(value) for key, value in found["data"].items()} if found else {}
    raise source.wrong("a configMapRef or a secretRef")


def _value_from(pod: Value, container: Value, source: Value, objects: Objects) -> str | None:
    """The value that ``valueFrom`` tells; None if it is optional and not there."""
    namespace = pod["metadata"]["namespace"].text("default")
    if source["fieldRef"].given:
        return downward.field(pod, source["fieldRef"])
    if source["resourceFieldRef"].given:
        return downward.resource(pod, source["resourceFieldRef"], container["name"].text())
    if source["configMapKeyRef"].given:
        ref = source["configMapKeyRef"]
        value = _entry(objects.config_map(namespace, ref), ref)
        return value.text() if value else None
    if source["secretKeyRef"].given:
        ref = source["secretKeyRef"]
        value = _entry(objects.secret(namespace, ref), ref)
        return _decoded(value) if value else None
    raise source.wrong("a fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef")


def _entry(found: Value | None, ref: Value) -> Value | None:
    key = ref["key"].text()
    if found is not None and key in found["data"].mapping():
        return found["data"][key]
    if ref["optional"].boolean():
        return None
    raise ref.refuse(f"{ref['name'].raw!r} has no key {key!r}")


def _projected(
    pod: Value, container: Value, volume: Value, objects: Objects, secrets: dict[str, Any]
) -> dict[str, Any]:
    """The config map, named as the volume, in which interLink sends a projected volume; secrets go beside it."""
    namespace = pod["metadata"]["namespace"].text("default")
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for source in volume["projected"]["sources"].each():
        if source["configMap"].given:
            if found := objects.config_map(namespace, source["configMap"]):
                data |= _items(found, "data", source["configMap"])
                binary |= _items(found, "binaryData", source["configMap"])
        elif source["downwardAPI"].given:
            data |= _downward(pod, container, source["downwardAPI"])
        elif source["secret"].given:
            if found := objects.secret(namespace, source["secret"]):
                secrets[found["metadata"]["name"].text()] = found.raw
        elif source["serviceAccountToken"].given:
            raise source["serviceAccountToken"].refuse("only a cluster can issue a service-account token; leave it out")
        else:
            raise source.wrong("a configMap, secret or downwardAPI")
    metadata = {"name": volume["name"].text(), "namespace": namespace}
    return {"metadata": metadata, "data": data, **({"binaryData": binary} if binary else {})}


def _items(found: Value, part: str, source: Value) -> dict[str, str]:
    """Path to value of the keys of `part` (``data``, ``binaryData``) of `found`: those of ``items``, or all."""
    table = found[part].table()
    if not source["items"].given:
        return table
    for item in source["items"].each():
        known = {*found["data"].mapping(), *found["binaryData"].mapping()}
        if item["key"].text() not in known and not source["optional"].boolean():
            raise item["key"].wrong(f"a key of config map {source['name'].raw!r}")
    return {
        item["path"].text(): table[item["key"].text()] for item in source["items"].each() if item["key"].raw in table
    }


def _downward(pod: Value, container: Value, source: Value) -> dict[str, str]:
    """Path to text of the files of a downward API volume."""
    return {
        item["path"].text(): downward.field(pod, item["fieldRef"])
        if item["fieldRef"].given
        else downward.resource(pod, item["resourceFieldRef"], container["name"].text())
        for item in source["items"].each()
    }


def _decoded(value: Value) -> str:
    """A value of a secret as text."""
    try:
        return Value(base64.b64decode(value.text(), validate=True).decode(), value.place).text()
    except (binascii.Error, UnicodeDecodeError):
        raise value.refuse("is not base64 of text, so it cannot become a variable") from None
