"""The page of a validation: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import jinja2

from flashlink.flashsim.validation.measure import TAIL, Distance, Numbers
from flashlink.flashsim.validation.verdict import Check

#: Bins of a variable that the page lists; the JSON file has all.
MOST_LISTED = 40


def page(numbers: Numbers, checks: Sequence[Check]) -> str:
    """The page as text."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
    worst = sorted((found for found in numbers.distances if found.condition), key=_excess, reverse=True)
    return template.render(
        numbers=numbers,
        checks=checks,
        whole=[found for found in numbers.distances if not found.condition],
        worst=worst[:MOST_LISTED],
        tail=TAIL,
    )


def _excess(found: Distance) -> float:
    return found.distance / found.expected
