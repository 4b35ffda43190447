"""The page: headline, peaks, figures, steps and provenance, put into the template ``page.html``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from flashlink import __version__
from flashlink.flashsim.kinematics import pdg_mass
from flashlink.flashsim.records import Record
from flashlink.flashsim.report.comparison import Comparison
from flashlink.flashsim.report.drawing import Plot, styled
from flashlink.flashsim.report.peaks import DECAYS, Measured, mass_pulls, measure, peak_plot
from flashlink.flashsim.report.plots import all_plots
from flashlink.flashsim.report.provenance import Fact
from flashlink.flashsim.report.steps import Speed, Step, speed, steps


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        comparison: The samples.
        peaks: Measured peaks, flash and reference in turn.
        plots: Figures, peaks first.
        steps: The table of steps.
        speed: How quick the flash simulation is.
        provenance: What it takes to make the samples again.
        trained_on: How many of the generated files the flash simulation has learned from; there should be none.
        b_to_jpsi_k: Whether the events are those of the main job.
    """

    comparison: Comparison
    peaks: list[Measured]
    plots: list[Plot]
    steps: list[Step]
    speed: Speed
    provenance: list[Fact]
    trained_on: int
    b_to_jpsi_k: bool


@dataclass(frozen=True)
class Headline:
    """A number that stands at the top of the page and on the terminal."""

    label: str
    value: str
    detail: str


def make_report(
    comparison: Comparison, records: Sequence[Record], provenance: list[Fact], trained_on: int,
    *, b_to_jpsi_k: bool,
) -> Report:  # fmt: skip
    """Fit, draw and sum up."""
    with styled():
        plots = [peak_plot(decay, comparison) for decay in DECAYS]
        plots += [mass_pulls(comparison), *all_plots(comparison)]
    return Report(
        comparison=comparison,
        peaks=[
            measure(decay, detector) for decay in DECAYS for detector in (comparison.flash, comparison.reference)
        ],
        plots=plots,
        steps=steps(records),
        speed=speed(records),
        provenance=provenance,
        trained_on=trained_on,
        b_to_jpsi_k=b_to_jpsi_k,
    )  # fmt: skip


def headline(report: Report) -> list[Headline]:
    """The numbers to show first."""
    comparison, found = report.comparison, {peak.decay.name: peak for peak in report.peaks if peak.detector == "flash"}
    lines = [
        Headline(
            "events", f"{comparison.generated:,}",
            f"{comparison.events:,} of them in the reference detector too, and compared",
        )
    ]  # fmt: skip
    for name, label in (("b", "B⁺ → J/ψ K⁺"), ("jpsi", "J/ψ → μ⁺μ⁻")):
        peak = found[name]
        if peak.fit is None:
            lines.append(Headline(label, "too few to fit", f"{peak.true} true candidates; simulate more events"))
            continue
        fit, mass = peak.fit, pdg_mass(peak.decay.pdg)
        lines += [
            Headline(f"{label} candidates", f"{fit.signal:,.0f} ± {fit.signal_error:.0f}", "flash, from the fit"),
            Headline(
                f"{label} mass", f"{fit.mass:.1f} ± {fit.mass_error:.1f} MeV",
                f"PDG {mass:.1f} MeV, difference {fit.mass - mass:+.1f}".replace("-", "\N{MINUS SIGN}"),
            ),
            Headline(
                f"{label} width", f"{fit.half_width:.1f} ± {fit.half_width_error:.1f} MeV",
                f"track errors explain {peak.expected:.1f} MeV",
            ),
        ]  # fmt: skip
    return [*lines, *_quickness(report.speed)]


def summary(report: Report) -> dict[str, Any]:
    """What ``summary.json`` holds: the headline as text, and the numbers of the page."""
    numbers = {
        "events": report.comparison.generated,
        "compared_events": report.comparison.events,
        "trained_on": report.trained_on,
        "peaks": [_peak_numbers(peak) for peak in report.peaks],
        "steps": [asdict(step) for step in report.steps],
        "speed": report.speed.numbers,
    }
    lines = [{"label": line.label, "value": f"{line.value} ({line.detail})"} for line in headline(report)]
    return {"headline": lines, "numbers": numbers}


def page(report: Report) -> str:
    """The HTML page; all that comes from files is escaped."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = _number
    template = environment.from_string(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    return template.render(
        report=report,
        headline=headline(report),
        pdg={peak.decay.pdg: pdg_mass(peak.decay.pdg) for peak in report.peaks},
        plots=[plot.for_page() for plot in report.plots],
        style=stylesheet(),
        version=__version__,
    )


def stylesheet() -> Markup:
    """How all pages of the simulation look, light and dark, on screens and on paper."""
    return Markup(resources.files(__package__).joinpath("page.css").read_text("utf-8"))  # noqa: S704  # our own file


def _quickness(speed: Speed) -> list[Headline]:
    """One number that compares like with like: particles by processor time in the detector phase.

    The start of a process and its files take longer than the flash simulation of a pod's events.
    """
    if speed.detector is None:
        return []
    rate = f"{speed.detector:,.0f}"
    if speed.detector_reference is None:
        return [Headline("flash simulation", f"{rate} particles/s", "without start-up and files")]
    times = f"{speed.detector / speed.detector_reference:,.0f} times the reference"
    against = f"{rate} against {speed.detector_reference:,.0f} particles/s, without start-up and files"
    return [Headline("speed of the flash simulation", times, against)]


def _peak_numbers(peak: Measured) -> Mapping[str, Any]:
    numbers: dict[str, Any] = {
        "decay": peak.decay.name,
        "detector": peak.detector,
        "pdg_mass": pdg_mass(peak.decay.pdg),
        "expected_half_width": None if math.isnan(peak.expected) else peak.expected,
        "pull": None if math.isnan(peak.pull) else peak.pull,
        "true": peak.true,
    }
    if peak.fit is not None:
        fit = peak.fit
        numbers |= asdict(fit) | {"half_width": fit.half_width, "half_width_error": fit.half_width_error}
    return numbers


def _number(value: float | None, digits: int = 0) -> str:
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:,.{digits}f}"
