"""How the report draws: one style, points for the reference and lines for the flash simulation, figures as inline SVG.

The ink of axes and text is a colour that appears nowhere else and becomes ``currentColor`` in the SVG, so that a figure
takes the page's colour of text, light or dark, on screen or on paper.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

Floats = npt.NDArray[np.float64]

INK = "#010203"
FLASH, SECOND, THIRD, FOURTH = "#e8590c", "#1c7ed6", "#2f9e44", "#ae3ec9"

STYLE: dict[str, Any] = {
    "font.size": 11,
    "axes.labelsize": 12,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.9,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "flashlink",
}


@dataclass(frozen=True)
class Plot:
    """A figure of the report.

    Attributes:
        name: Short identifier, unique in the page.
        title: Heading.
        svg: The drawing.
        caption: What it shows, for a reader who sees nothing else.
        figure: What it was drawn from.
    """

    name: str
    title: str
    svg: str
    caption: str
    figure: Figure

    def for_page(self) -> dict[str, str]:
        """What the template of a page needs."""
        # The drawing is our own, what comes from files is escaped in it.
        return {"name": self.name, "title": self.title, "svg": Markup(self.svg), "caption": self.caption}  # noqa: S704


@dataclass(frozen=True)
class Points:
    """Values with asymmetric errors, one a bin; NaN where a bin is empty.

    Attributes:
        value: Shape (bins,).
        low: Length of the error downwards.
        high: Length of the error upwards.
    """

    value: Floats
    low: Floats
    high: Floats


def panels(width: float = 7.0, height: float = 5.0) -> tuple[Figure, Axes, Axes]:
    """A figure with a lower panel for the comparison."""
    # Margins by hand: matplotlib's own layout takes half of the time that a figure takes.
    figure = Figure(figsize=(width, height))
    margins = {"left": 0.125, "right": 0.975, "bottom": 0.105, "top": 0.975, "hspace": 0.07}
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw=margins)
    figure.align_ylabels()
    return figure, upper, lower


def finished(figure: Figure, name: str, title: str, caption: str) -> Plot:
    """Turn a figure into SVG whose identifiers are its own in the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'((?:id|href)="#?|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r'(href=")(' + name + r"-)(#?)", r"\1#\2", svg)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', _opening, svg, count=1)
    return Plot(name, title, svg, caption, figure)


def momentum_axis(axes: Axes) -> None:
    """A logarithmic axis of momentum in GeV with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50, 100, 200]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("momentum [GeV]")


def _opening(match: re.Match[str]) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{match[1]}" role="img" aria-hidden="true">'


def styled() -> Any:
    """A context in which figures have the report's style, whatever the user's own matplotlib settings are."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE, "backend": "svg"}
    return mpl.rc_context(settings)


def draw_both(
    upper: Axes, lower: Axes, edges: Floats, reference: Points, flash: Points, colour: str, label: str
) -> None:
    """Draw a profile of both simulations, and its ratio below: points are the reference, steps the flash simulation."""
    centres = (edges[:-1] + edges[1:]) / 2
    half = np.stack([centres - edges[:-1], edges[1:] - centres])
    upper.stairs(flash.value, edges, color=colour, linewidth=1.8, label=label, baseline=None)
    _band(upper, edges, flash.value - flash.low, flash.value + flash.high, colour)
    points: dict[str, Any] = {"fmt": "o", "markersize": 4, "linewidth": 1.1, "color": colour}
    upper.errorbar(centres, reference.value, yerr=np.stack([reference.low, reference.high]), xerr=half, **points)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = flash.value / reference.value
        relative_f = np.maximum(flash.low, flash.high) / flash.value
        relative_r = np.maximum(reference.low, reference.high) / reference.value
        error = ratio * np.hypot(relative_f, relative_r)
    # Where the reference has nothing there is no ratio.
    ratio = np.where(np.isfinite(ratio) & np.isfinite(error), ratio, np.nan)
    error = np.where(np.isfinite(ratio), error, np.nan)
    lower.errorbar(centres, ratio, yerr=error, xerr=half, **points)


def ratio_axis(lower: Axes, limits: tuple[float, float], label: str = "flash / ref.") -> None:
    """Dress the lower panel of `draw_both`."""
    lower.axhline(1, color=INK, linewidth=0.9)
    lower.set(ylim=limits, ylabel=label)


def legend_of_both(upper: Axes, **options: Any) -> None:
    """The legend of `draw_both`: the colours, and what points and lines are."""
    handles, labels = upper.get_legend_handles_labels()
    handles += [
        Line2D([], [], color=INK, marker="o", markersize=4, linewidth=1.1),
        Line2D([], [], color=INK, linewidth=1.8),
    ]
    upper.legend(handles, [*labels, "reference (points)", "flash (line)"], **options)


def _band(axes: Axes, edges: Floats, low: Floats, high: Floats, colour: str) -> None:
    axes.fill_between(
        np.repeat(edges, 2)[1:-1], np.repeat(low, 2), np.repeat(high, 2), color=colour, alpha=0.2, linewidth=0
    )
