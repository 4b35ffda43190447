"""The table of what becomes of a field is complete and says why."""

import pytest

from flashlink.errors import RequestError
from flashlink.pods import fields
from flashlink.pods.fields import Rule, Treatment
from flashlink.pods.value import Value


@pytest.mark.parametrize("unset", [None, "", 0, False, [], {}])
def test_a_refused_field_that_is_not_set_is_no_matter(unset: object) -> None:
    fields.check(Value({"gone": unset}), {"gone": Rule(Treatment.REFUSED, "why")}, "thing")


def test_a_refused_field_may_have_harmless_values() -> None:
    rules = {"os": Rule(Treatment.REFUSED, "workers run Linux", ({"name": "linux"},))}
    fields.check(Value({"os": {"name": "linux"}}), rules, "pod")
    with pytest.raises(RequestError, match=r"^spec\.os: workers run Linux$"):
        fields.check(Value({"os": {"name": "windows"}}, "spec"), rules, "pod")


def test_an_unknown_field_is_refused_even_without_a_near_one() -> None:
    with pytest.raises(RequestError, match=r"^x\.qqq: no field of a thing that flashlink knows; check the spelling"):
        fields.check(Value({"qqq": 1}, "x"), {"name": Rule(Treatment.HONOURED, "")}, "thing")
