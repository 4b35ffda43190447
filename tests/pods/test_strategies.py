"""The strategies reach every honoured field, and make pods that mostly run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from flashlink.errors import RequestError
from flashlink.pods.fields import Treatment
from flashlink.pods.parse import parse_create
from flashlink.pods.tables import ANNOTATION, POD_SPEC, TABLES, Table
from pods import strategies


def fields_of(value: Any, table: Table) -> Iterator[tuple[str, str]]:
    """Object and field of every field that is set in `value`, an object or a list of objects of `table`."""
    for each in value if isinstance(value, list) else [value]:
        for name, below in each.items():
            yield table.title, name
            if name in table.nested and below is not None:
                yield from fields_of(below, table.nested[name])


def annotations_of(request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in request["pod"]["metadata"]["annotations"]:
        domain, separator, _ = key.partition("vk.io/v-")
        yield ANNOTATION.title, f"{domain}vk.io/<volume>" if separator else key


def test_every_honoured_field_is_generated_and_most_pods_are_taken() -> None:
    seen: set[tuple[str, str]] = set()
    taken: list[bool] = []

    @settings(
        max_examples=1000, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategies.requests())
    def look(request: dict[str, Any]) -> None:
        seen.update(fields_of(request["pod"]["spec"], POD_SPEC))
        seen.update(annotations_of(request))
        try:
            parse_create(json.dumps(request).encode())
        except RequestError:
            taken.append(False)
        else:
            taken.append(True)

    look()
    honoured = {
        (table.title, name)
        for table in (*TABLES, ANNOTATION)
        for name, rule in table.rules.items()
        if rule.treatment is Treatment.HONOURED
    }
    assert honoured - seen == set()
    assert sum(taken) > 0.7 * len(taken)
