"""JSON Schema of a pod as a create takes it, made of the tables of `flashlink.pods.tables`.

An honoured field has its type, an ignored one may be anything, a refused one may only be what counts as not set. For
people who read a description, and for tests that are generated from it; `flashlink.pods.parse` is what checks pods.
"""

from __future__ import annotations

from typing import Any

from flashlink.pods.fields import Rule, Treatment
from flashlink.pods.tables import POD_SPEC, Table

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_TABLE: Schema = {"type": "object", "additionalProperties": _TEXT}
_BOOLEAN: Schema = {"type": "boolean"}
_LABEL: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
_QUANTITY: Schema = {"type": ["string", "number"], "examples": ["500m", "1.5Gi", 2]}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": _QUANTITY}

#: What counts as not set, to Kubernetes as to flashlink.
_UNSET: tuple[Any, ...] = (None, False, 0, "", [], {})


def _integer(low: int, high: int = 2**31 - 1) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


#: Types of honoured fields that are no text and no object with a table; fields of one name have one type everywhere.
_TYPES: dict[str, Schema] = {
    "activeDeadlineSeconds": _integer(1),
    "args": _TEXTS,
    "command": _TEXTS,
    "containerPort": _integer(1, 65535),
    "defaultMode": _integer(0, 0o777),
    "divisor": _QUANTITY,
    "drop": _TEXTS,
    "failureThreshold": _integer(0),
    "initialDelaySeconds": _integer(0),
    "hostPort": _integer(0, 65535),
    "hostnames": _TEXTS,
    "limits": _QUANTITIES,
    "mode": _integer(0, 0o777),
    "nameservers": _TEXTS,
    "optional": _BOOLEAN,
    "periodSeconds": _integer(0),
    "port": {"type": ["integer", "string"], "examples": [8080, "web"]},
    "readOnly": _BOOLEAN,
    "readOnlyRootFilesystem": _BOOLEAN,
    "requests": _QUANTITIES,
    "restartPolicy": {"enum": ["Always", "OnFailure", "Never"], **_TEXT},
    "runAsGroup": _integer(0),
    "runAsNonRoot": _BOOLEAN,
    "runAsUser": _integer(0),
    "scheme": {"enum": ["HTTP", "HTTPS"], **_TEXT},
    "seconds": _integer(0),
    "searches": _TEXTS,
    "setHostnameAsFQDN": _BOOLEAN,
    "sizeLimit": _QUANTITY,
    "successThreshold": _integer(0),
    "terminationGracePeriodSeconds": _integer(0),
    "timeoutSeconds": _integer(0),
    "values": {"type": "array", "items": _integer(0, 255)},
}

#: Texts that have a form, by object and field.
_FORMS: dict[tuple[str, str], Schema] = {
    ("Container", "name"): _LABEL,
    ("Container", "image"): {"type": "string", "pattern": "^[A-Za-z0-9/][-A-Za-z0-9._~+=@:/]{0,1023}$"},
    ("Container", "workingDir"): {"type": "string", "pattern": "^(/.*)?$"},
    ("EnvVar", "name"): {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    ("Volume", "name"): _LABEL,
    ("VolumeMount", "mountPath"): {"type": "string", "pattern": "^/[^:]+$"},
}

#: Fields that hold a list of objects.
_LISTS = {"containers", "env", "hostAliases", "httpHeaders", "initContainers", "items", "options", "ports"}
_LISTS |= {"restartPolicyRules"}
_LISTS |= {"sources", "volumeMounts", "volumes"}

#: Fields without which an object is nothing.
_REQUIRED = {
    "PodSpec": ["containers"],
    "Container": ["name", "image"],
    "EnvVar": ["name"],
    "VolumeMount": ["name", "mountPath"],
    "Volume": ["name"],
    "ContainerPort": ["containerPort"],
    "ExecAction": ["command"],
    "HTTPGetAction": ["port"],
    "HTTPHeader": ["name"],
    "TCPSocketAction": ["port"],
    "SleepAction": ["seconds"],
}


def pod() -> Schema:
    """A Kubernetes pod of which every field is one that flashlink honours or ignores."""
    metadata = {
        "type": "object",
        "required": ["name", "namespace", "uid"],
        "properties": {
            "name": {**_LABEL, "description": "or a DNS subdomain"},
            "namespace": _LABEL,
            "uid": {"type": "string", "pattern": "^[A-Za-z0-9][-A-Za-z0-9]{0,63}$"},
            "annotations": _or_null(_TABLE),
            "labels": _or_null(_TABLE),
        },
    }
    return {
        "type": "object",
        "description": "A Kubernetes Pod (v1), with its fields that mean something to a job",
        "required": ["metadata", "spec"],
        "properties": {"metadata": metadata, "spec": of(POD_SPEC)},
    }


def of(table: Table) -> Schema:
    """The schema of an object."""
    properties = {name: _field(table, name, rule) for name, rule in table.rules.items()}
    required = _REQUIRED.get(table.title)
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": properties,
        "additionalProperties": False,
    }


def _field(table: Table, name: str, rule: Rule) -> Schema:
    described: Schema = {"description": f"{rule.treatment.value}: {rule.why}"}
    if rule.treatment is Treatment.REFUSED:
        return {"enum": [*_UNSET, *rule.harmless], **described}
    if rule.treatment is Treatment.IGNORED:
        return described
    return {**_type(table, name), **described}


def _type(table: Table, name: str) -> Schema:
    if name in table.nested:
        inner = of(table.nested[name])
        held = {"type": "array", "items": inner} if name in _LISTS else inner
        return {**held, "minItems": 1} if table is POD_SPEC and name == "containers" else _or_null(held)
    kind = _FORMS.get((table.title, name)) or _TYPES.get(name, _TEXT)
    return kind if name in _REQUIRED.get(table.title, ()) else _or_null(kind)


def _or_null(schema: Schema) -> Schema:
    """As Kubernetes has it: null is as good as nothing."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [*kinds, "null"], **enum}
