"""docs/pods.md says what the code does, and the code knows every field that Kubernetes has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from flashlink.pods import fields, tables
from flashlink.pods.fields import Rule, Treatment
from flashlink.pods.tables import ANNOTATION, TABLES, Table

PAGE = Path(__file__).parents[2] / "docs" / "pods.md"

#: Kubernetes' own words for texts, times and numbers, which are no objects with fields.
SCALARS = {"Quantity", "IntOrString", "Time", "Dict", "List", "Optional", "str", "int", "bool"}


@cache
def kubernetes() -> Mapping[str, Mapping[str, str]]:
    """Every object of Kubernetes 1.34's core API: its fields and their types, from the models of lightkube."""
    package = distribution("lightkube-models")
    assert package.version.startswith("1.34."), "docs/pods.md names the version of Kubernetes"
    module = ast.parse(Path(str(package.locate_file("lightkube/models/core_v1.py"))).read_text("utf-8"))
    return {
        node.name: {
            line.target.id.rstrip("_"): ast.literal_eval(line.annotation)
            if isinstance(line.annotation, ast.Constant)
            else ast.unparse(line.annotation)
            for line in node.body
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        }
        for node in module.body
        if isinstance(node, ast.ClassDef)
    }


def of_fields() -> Iterator[tuple[str, Mapping[str, Rule]]]:
    """The tables that the module `fields` has, by name; the kinds of volumes one by one."""
    for name, value in vars(fields).items():
        if not name.startswith("_") and isinstance(value, Mapping):
            if all(isinstance(rule, Rule) for rule in value.values()):
                yield name, value
            elif name == "VOLUME_SOURCE":
                yield from ((f"{name}.{kind}", rules) for kind, rules in value.items())


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text("utf-8") == tables.markdown(), "python -m flashlink.pods.tables > docs/pods.md"


def test_every_table_is_on_the_page() -> None:
    shown = [dict(table.rules) for table in (*TABLES, ANNOTATION)]
    assert [name for name, rules in of_fields() if dict(rules) not in shown] == ["UNRESOLVED_VARIABLE"]


def test_every_nested_table_is_on_the_page() -> None:
    titles = {table.title for table in TABLES}
    assert {nested.title for table in TABLES for nested in table.nested.values()} | {"PodSpec"} == titles


@pytest.mark.parametrize("table", [*TABLES, ANNOTATION], ids=lambda table: table.title)
def test_every_rule_says_why_or_how(table: Table) -> None:
    assert [name for name, rule in table.rules.items() if not rule.why.strip()] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_every_field_of_kubernetes_has_a_rule_and_no_rule_is_of_no_field(table: Table) -> None:
    known = {name for model in table.models for name in kubernetes()[model]}
    assert set(table.rules) == known


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_honoured_objects_have_tables_of_their_own(table: Table) -> None:
    for model in table.models:
        for name, kind in kubernetes()[model].items():
            objects = set(re.findall(r"[A-Z]\w+", kind.rpartition(".")[2])) - SCALARS
            if objects and table.rules[name].treatment is Treatment.HONOURED:
                assert objects <= set(table.nested[name].models), f"{model}.{name} holds {kind}"


def test_the_source_of_the_fields_has_what_pods_have() -> None:
    known: Any = kubernetes()
    assert {"containers", "volumes", "resources"} <= set(known["PodSpec"])
    assert known["Volume"]["emptyDir"] == "Optional[EmptyDirVolumeSource]"
