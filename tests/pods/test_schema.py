"""The schema of a pod describes each field with the type that Kubernetes gives it."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from flashlink.pods import schema
from flashlink.pods.fields import Treatment
from flashlink.pods.tables import TABLES, Table
from pods.kubernetes import types_of

KINDS = {"str": "string", "int": "integer", "bool": "boolean", "List": "array", "Dict": "object"}


def kind_of(words: str) -> set[str]:
    """The JSON types of a type of Kubernetes' models, as ``Optional[List[str]]``."""
    outer = words.removeprefix("Optional[").partition("[")[0].rstrip("]")
    if "Quantity" in outer:
        return {"string", "number"}
    if "IntOrString" in outer:
        return {"string", "integer"}
    return {KINDS.get(outer, "object")}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_honoured_fields_have_the_types_of_kubernetes(table: Table) -> None:
    described = schema.of(table)["properties"]
    for name, words in types_of(*table.models).items():
        if table.rules[name].treatment is Treatment.HONOURED:
            kind = described[name]["type"]
            own = {"string", "number"} if name == "divisor" or name == "sizeLimit" else kind_of(words)
            assert {*([kind] if isinstance(kind, str) else kind)} - {"null"} == own, name


def test_it_is_a_schema_that_takes_a_pod_and_refuses_what_the_pod_may_not_set() -> None:
    described = schema.pod()
    Draft202012Validator.check_schema(described)
    check = Draft202012Validator(described)
    good: dict[str, Any] = {
        "metadata": {"name": "a", "namespace": "b", "uid": "0-1", "labels": None},
        "spec": {"containers": [{"name": "c", "image": "i", "args": None, "stdin": False}], "hostPID": False},
    }
    assert check.is_valid(good)
    for changed in ({"hostPID": True}, {"unknown": 1}, {"containers": []}, {"activeDeadlineSeconds": 0}):
        assert not check.is_valid({**good, "spec": {**good["spec"], **changed}}), changed
