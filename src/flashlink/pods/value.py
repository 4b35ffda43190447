"""A value inside a Kubernetes object together with the place where it stands, so that every error can name both.

A manifest, or a request, is hostile and loosely typed: any field may be missing, null or of another type. `Value` walks
through it and hands out plain, checked Python values::

    spec = Value(pod, "Pod demo: spec")
    spec["containers"].each()[0]["image"].text()     # RequestError "Pod demo: spec.containers[0].image: …"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flashlink.errors import RequestError, wrong

#: What is shown of a key; Kubernetes' own are shorter.
_LONGEST_KEY = 330


@dataclass(frozen=True, slots=True)
class Value:
    """Any value and its place; null and missing are the same, as they are to Kubernetes.

    Args:
        raw: As decoded from JSON or YAML.
        place: What leads to it, as ``spec.containers[0].env``; for the root of a document what precedes the keys, as
            ``"pod.yaml: "``.
    """

    raw: Any
    place: str = ""

    def __getitem__(self, key: str) -> Value:
        """The field `key` of this object; a missing field is a null value with a place."""
        joint = "" if not self.place or self.place.endswith(" ") else "."
        shown = key if key.isprintable() and len(key) <= _LONGEST_KEY else repr(key[:_LONGEST_KEY])
        return Value(self.mapping().get(key), f"{self.place}{joint}{shown}")

    def __bool__(self) -> bool:
        """False for what Kubernetes takes as not set: null, "", 0, false, empty lists and objects."""
        return bool(self.raw)

    @property
    def given(self) -> bool:
        """True unless it is missing or null."""
        return self.raw is not None

    def wrong(self, expected: str, advice: str = "") -> RequestError:
        """The error that this value is not `expected`."""
        place = self.place.removesuffix(": ")
        if self.raw is None:
            return RequestError(f"{place}: missing; expected {expected}" + (f"; {advice}" if advice else ""))
        return wrong(place, self.raw, expected, advice)

    def refuse(self, why: str) -> RequestError:
        """The error that this field, whatever its value, cannot be; `why` says the reason and what to do."""
        return RequestError(f"{self.place.removesuffix(': ')}: {why}")

    def mapping(self) -> Mapping[str, Any]:
        """The object itself; empty if it is null."""
        if self.raw is None:
            return {}
        if not isinstance(self.raw, Mapping) or not all(isinstance(key, str) for key in self.raw):
            raise self.wrong("an object with text keys")
        return self.raw

    def each(self) -> list[Value]:
        """The entries of this list; none if it is null."""
        if self.raw is None:
            return []
        if not isinstance(self.raw, Sequence) or isinstance(self.raw, str | bytes):
            raise self.wrong("a list")
        return [Value(item, f"{self.place}[{index}]") for index, item in enumerate(self.raw)]

    def items(self) -> list[tuple[str, Value]]:
        """Keys and fields of this object; none if it is null."""
        return [(key, self[key]) for key in self.mapping()]

    def text(self, default: str | None = None) -> str:
        """The text; without `default` it must be given. No process can be handed a NUL or a lone surrogate: refused."""
        if self.raw is None and default is not None:
            return default
        if not isinstance(self.raw, str):
            raise self.wrong("text", "put it in quotes" if isinstance(self.raw, bool | int | float) else "")
        # The text may be a secret, so these two errors do not show it.
        if "\0" in self.raw:
            raise self.refuse("holds the character NUL, which no process can be given")
        self.utf8()
        return self.raw

    def utf8(self) -> bytes:
        """The bytes of a text that becomes a file, NULs and all."""
        if not isinstance(self.raw, str):
            raise self.wrong("text")
        try:
            return self.raw.encode()
        except UnicodeEncodeError:
            raise self.refuse("is not valid Unicode text") from None

    def texts(self) -> tuple[str, ...] | None:
        """A list of texts, or None if it is null."""
        return tuple(item.text() for item in self.each()) if self.given else None

    def table(self) -> dict[str, str]:
        """An object of texts, as labels and annotations are."""
        return {
            key: value.text() for key, value in self.items() if Value(key, f"{self.place}, a key").text() is not None
        }

    def boolean(self) -> bool:
        """True or false; null is false."""
        if self.raw is not None and not isinstance(self.raw, bool):
            raise self.wrong("true or false")
        return bool(self.raw)

    def integer(self, low: int, high: int = 2**31 - 1) -> int | None:
        """A whole number from `low` to `high`, or None if it is null."""
        if self.raw is None:
            return None
        if isinstance(self.raw, bool) or not isinstance(self.raw, int) or not low <= self.raw <= high:
            raise self.wrong(f"a whole number from {low}" + (f" to {high}" if high != 2**31 - 1 else ""))
        return self.raw

    def one_of(self, words: Sequence[str], default: str) -> str:
        """One of a few words; `default` where it is not given."""
        word = self.text(default)
        if word not in words:
            raise self.wrong("one of " + ", ".join(repr(known) for known in words))
        return word
