"""The page of a validation: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import jinja2

from flashlink import __version__
from flashlink.flashsim.report.drawing import Plot
from flashlink.flashsim.report.page import stylesheet
from flashlink.flashsim.validation import plots
from flashlink.flashsim.validation.distances import TAIL, Distance
from flashlink.flashsim.validation.measure import Numbers
from flashlink.flashsim.validation.sample import Pair
from flashlink.flashsim.validation.verdict import Check

#: Bins of a variable that the page lists; the JSON file has all.
MOST_LISTED = 25


def page(pair: Pair, numbers: Numbers, checks: Sequence[Check]) -> str:
    """The page as text; all that comes from files is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
    return template.render(
        numbers=numbers,
        checks=checks,
        missed=sum(check.holds is False for check in checks),
        unknown=sum(check.holds is None for check in checks),
        whole=[found for found in numbers.distances if not found.bin.condition],
        worst=sorted((found for found in numbers.distances if found.bin.condition), key=_excess)[:MOST_LISTED],
        closures=[(found.name, found) for found in numbers.closures],
        plots={plot.name: plot.for_page() for plot in _figures(pair, numbers)},
        tail=TAIL,
        style=stylesheet(),
        version=__version__,
    )


def _figures(pair: Pair, numbers: Numbers) -> list[Plot]:
    figures = [plots.overview(numbers), plots.pull_figure(numbers.pulls), plots.correlation_figure(numbers)]
    figures += [*plots.distributions(pair), *plots.efficiency_figures(numbers.efficiencies)]
    figures += [plots.identification_figure(pair), plots.separation_figure(numbers.separations)]
    return [*figures, plots.mass_figure(pair, numbers.closures)] if numbers.closures else figures


def _excess(found: Distance) -> float:
    return -found.distance / found.expected
