"""docs/pods.md says what the code does, and the code knows every field that Kubernetes has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flashlink.pods import fields, tables
from flashlink.pods.fields import Rule, Treatment
from flashlink.pods.tables import ANNOTATION, JOB_CONFIG, TABLES, Table
from pods import kubernetes

PAGE = Path(__file__).parents[2] / "docs" / "pods.md"

#: Kubernetes' own words for texts, times and numbers, which are no objects with fields.
SCALARS = {"Quantity", "IntOrString", "Time", "Dict", "List", "Optional", "str", "int", "bool"}


def of_fields() -> Iterator[tuple[str, Mapping[str, Rule]]]:
    """The tables that the module `fields` has, by name; the kinds of volumes one by one."""
    for name, value in vars(fields).items():
        if not name.startswith("_") and isinstance(value, Mapping):
            if all(isinstance(rule, Rule) for rule in value.values()):
                yield name, value
            elif name == "VOLUME_SOURCE":
                yield from ((f"{name}.{kind}", rules) for kind, rules in value.items())


def test_the_page_is_in_step() -> None:
    assert f"Kubernetes {kubernetes.VERSION} " in tables.markdown()
    assert PAGE.read_text("utf-8") == tables.markdown(), "python -m flashlink.pods.tables > docs/pods.md"


def test_every_table_is_on_the_page() -> None:
    shown = [dict(table.rules) for table in (*TABLES, ANNOTATION, *JOB_CONFIG)]
    assert [name for name, rules in of_fields() if dict(rules) not in shown] == ["UNRESOLVED_VARIABLE"]


def test_every_nested_table_is_on_the_page() -> None:
    titles = {table.title for table in TABLES}
    assert {nested.title for table in TABLES for nested in table.nested.values()} | {"PodSpec"} == titles


@pytest.mark.parametrize("table", [*TABLES, ANNOTATION, *JOB_CONFIG], ids=lambda table: table.title)
def test_every_rule_says_why_or_how(table: Table) -> None:
    assert [name for name, rule in table.rules.items() if not rule.why.strip()] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_every_field_of_kubernetes_has_a_rule_and_no_rule_is_of_no_field(table: Table) -> None:
    assert set(table.rules) == set(kubernetes.types_of(*table.models))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_honoured_objects_have_tables_of_their_own(table: Table) -> None:
    for model in table.models:
        for name, kind in kubernetes.objects()[model].items():
            objects = set(re.findall(r"[A-Z]\w+", kind.rpartition(".")[2])) - SCALARS
            if objects and table.rules[name].treatment is Treatment.HONOURED:
                assert objects <= set(table.nested[name].models), f"{model}.{name} holds {kind}"


def test_the_source_of_the_fields_has_what_pods_have() -> None:
    known: Any = kubernetes.objects()
    assert {"containers", "volumes", "resources"} <= set(known["PodSpec"])
    assert known["Volume"]["emptyDir"] == "Optional[EmptyDirVolumeSource]"
