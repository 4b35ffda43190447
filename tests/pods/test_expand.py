"""``$(VAR)`` in commands and arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.pods.expand import expand, references

ENV = {"A": "1", "B": "$(A)", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$(A)$(A)", "11"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$(B)", "$(A)"),
        ("$(EMPTY)", ""),
        ("$(NO)", "$(NO)"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("$()", "$()"),
        ("$", "$"),
        ("a$$b", "a$b"),
        ("$($(A))", "$($(A))"),
    ],
)
def test_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, ENV) == expected


@given(st.text())
def test_text_without_dollars_stays(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, ENV) == plain


@given(st.text())
def test_an_escaped_text_comes_back(text: str) -> None:
    assert expand(text.replace("$", "$$"), ENV) == text


@given(st.lists(st.sampled_from(["$(A)", "$$(A)", "x", "$(NO)", "("])))
def test_references_are_what_is_expanded(parts: list[str]) -> None:
    assert references("".join(parts)) == [part[2:-1] for part in parts if part in {"$(A)", "$(NO)"}]
