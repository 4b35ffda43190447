"""The figures of a validation: points are the reference, lines the flash simulation, as in the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flashlink.flashsim.parameterizations.condition import SPECIES
from flashlink.flashsim.report.drawing import FLASH, FOURTH, INK, SECOND, THIRD, Plot, finished, styled
from flashlink.flashsim.samples import TRACK_PARAMETERS
from flashlink.flashsim.validation.distances import BINNED, Pull
from flashlink.flashsim.validation.efficiencies import Efficiency
from flashlink.flashsim.validation.identification import SCORES, curve, scores
from flashlink.flashsim.validation.masses import Closure, decays, differences
from flashlink.flashsim.validation.measure import Numbers
from flashlink.flashsim.validation.sample import Floats, Pair
from flashlink.flashsim.validation.separation import Separation

#: Colours of the species, in the order of `SPECIES`.
_COLOURS = (FOURTH, SECOND, FLASH, THIRD, "#868e96")

#: Histograms have so many bins, between quantiles that leave out so much at each end.
_BINS, _OUTSIDE = 40, 0.0005

_LABELS = {"log10 p": "log₁₀(p / MeV)", "eta": "η", "phi": "φ", "multiplicity": "multiplicity",
           "origin z": "origin z [mm]", "x": "x [mm]", "y": "y [mm]"}  # fmt: skip


def overview(numbers: Numbers) -> Plot:
    """Where the samples differ: every variable in every bin, at a glance."""
    rows: dict[str, dict[str, list[float]]] = {}
    for found in numbers.distances:
        rows.setdefault(found.variable, {}).setdefault(found.bin.condition, []).append(found.distance)
    names = list(rows)
    conditions = [name for name in ("", *BINNED) for _ in range(max(len(row.get(name, ())) for row in rows.values()))]
    values = np.full((len(rows), len(conditions)), np.nan)
    for number, row in enumerate(rows.values()):
        for condition, found_in in row.items():
            start = conditions.index(condition)
            values[number, start : start + len(found_in)] = found_in
    height = 0.21 * len(names) + 0.6
    with styled():
        figure, axes = _figure(9.5, height, left=0.17, right=0.95, bottom=0.45 / height, top=1 - 0.1 / height)
        image = axes.pcolormesh(values, cmap="YlOrRd", vmin=0, vmax=max(0.1, float(np.nanquantile(values, 0.99))))
        starts = [k for k, name in enumerate(conditions) if k == 0 or name != conditions[k - 1]]
        for start in starts[1:]:
            axes.axvline(start, color=INK, linewidth=1)
        middles = [(a + b) / 2 for a, b in zip(starts, [*starts[1:], len(conditions)], strict=True)]
        axes.set_xticks(middles, [_LABELS.get(conditions[start], "all") for start in starts])
        axes.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.grid(visible=False)
        axes.invert_yaxis()
        bar = figure.colorbar(
            image, ax=axes, label="distance of the distributions", pad=0.015, fraction=0.07, aspect=60
        )
        _as_lines(bar)
        return finished(
            figure, "overview", "Every variable in every bin",
            "Largest difference of the cumulative distributions of flash and reference, over all rows and in four bins "
            "of each condition, low to high from left to right. Empty: no rows have this condition, or too few.",
        )  # fmt: skip


def distributions(pair: Pair) -> Iterator[Plot]:
    """Every variable of each group, pulls and likelihoods with their tails on a logarithmic scale."""
    titles = {"track": "Track variables", "identification": "Identification", "vertex": "Primary vertices"}
    titles |= {"ghost": "Ghosts", "photon": "Photons"}
    for name, ours, theirs in pair.groups():
        if not len(ours) or not len(theirs):
            continue
        with styled():
            figure, grid = _grid(len(ours.variables), 5)
            for axes, variable in zip(grid, ours.variables, strict=False):
                _histograms(axes, ours.variables[variable], theirs.variables[variable])
                axes.set_title(variable, fontsize=9)
            yield finished(
                figure, f"distributions-{name}", titles[name],
                "Shares of the rows in each bin; points: reference, line: flash. The scale is logarithmic where most "
                "rows are in a few bins. What lies outside of the range is counted in its last bins.",
            )  # fmt: skip


def efficiency_figures(found: Sequence[Efficiency]) -> Iterator[Plot]:
    """Efficiency of long tracks and of is_muon, by species against each condition."""
    titles = {"long": "Efficiency of long tracks", "upstream": "Share of upstream tracks",
              "downstream": "Share of downstream tracks", "is_muon": "is_muon of long tracks",
              "photon": "Efficiency of photons"}  # fmt: skip
    for what, title in titles.items():
        some = [value for value in found if value.what == what]
        if not some:
            continue
        with styled():
            conditions = list(dict.fromkeys(value.bin.condition for value in some if value.bin.condition in _LABELS))
            figure, grid = _grid(len(conditions), 3, size=(3.4, 2.5))
            for axes, condition in zip(grid, conditions, strict=False):
                for colour, species in zip((*_COLOURS, FLASH), (*SPECIES, "photon"), strict=True):
                    bins = [value for value in some if (value.species, value.bin.condition) == (species, condition)]
                    _profile(axes, [(value.bin.low, value.bin.high, value.reference, value.flash,
                                     value.error / np.sqrt(2)) for value in bins], colour, species)  # fmt: skip
                _condition_axis(axes, condition)
            _legend(grid[0])
            yield finished(
                figure, f"efficiency-{what}", title,
                "Points with their errors: reference; lines: flash. All bins of a species have as many particles.",
            )  # fmt: skip


def pull_figure(found: Sequence[Pull]) -> Plot:
    """Width of the pulls of the track parameters against each condition."""
    with styled():
        figure, grid = _grid(len(BINNED), 3, size=(3.4, 2.5))
        for axes, condition in zip(grid, BINNED, strict=False):
            for colour, parameter in zip(_COLOURS, TRACK_PARAMETERS, strict=True):
                bins = [pull for pull in found if (pull.parameter, pull.bin.condition) == (parameter, condition)]
                _profile(axes, [(pull.bin.low, pull.bin.high, pull.reference, pull.flash, pull.error)
                                for pull in bins], colour, parameter)  # fmt: skip
            axes.axhspan(0.95, 1.05, color=INK, alpha=0.08, linewidth=0)
            axes.set_ylim(0.8, 1.3)
            _condition_axis(axes, condition)
        _legend(grid[0], ncols=2)
        return finished(
            figure, "pull-widths", "Width of the pulls of long tracks",
            "Half the central 68 % of residual over quoted error; points: reference, lines: flash; the band is 0.95 to "
            "1.05. Without electrons, whose radiation no quoted error covers.",
        )  # fmt: skip


def identification_figure(pair: Pair) -> Plot:
    """Efficiency against misidentified pions."""
    with styled():
        figure, grid = _grid(len(SCORES), 2, size=(4.4, 3.1))
        for axes, (species, score), colour in zip(grid, SCORES.items(), (FOURTH, SECOND, THIRD, FLASH), strict=True):
            for side, style, points in zip(pair.sides, ("o", "-"), (25, 200), strict=True):
                found, pions = scores(side, species, score)
                if min(len(found), len(pions)):
                    at = np.geomspace(1e-3, 1, points)
                    efficiency = np.interp(at, *curve(found, pions))
                    axes.plot(at, efficiency, style, color=colour, markersize=3.5, linewidth=1.8)
            axes.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 1.02))
            axes.set_title(f"{species} by {score}", fontsize=10)
            axes.set_xlabel("pions misidentified", fontsize=10)
            axes.set_ylabel("efficiency", fontsize=10)
        figure.subplots_adjust(wspace=0.22)
        return finished(
            figure, "identification", "Efficiency of identification against misidentification",
            "For all cuts on the likelihood difference to the pion, all tracks; points: reference, lines: flash.",
        )  # fmt: skip


def correlation_figure(numbers: Numbers) -> Plot:
    """Correlations of the reference, and how far the flash simulation is off."""
    found = numbers.correlations
    ours, theirs = np.array(found.reference), np.array(found.flash)
    with styled():
        figure, (left, right) = _figure(11.5, 5.9, columns=2, left=0.12, right=0.96, bottom=0.19, wspace=0.06)
        for axes, values, largest, title in ((left, ours, 1.0, "reference"), (right, theirs - ours, 0.1, "difference")):
            image = axes.pcolormesh(values, cmap="RdBu_r", vmin=-largest, vmax=largest)
            axes.set_title(title if title == "reference" else "flash minus reference")
            axes.set_xticks(np.arange(len(found.names)) + 0.5, found.names, rotation=90, fontsize=6.5)
            labels = found.names if axes is left else [""] * len(found.names)
            axes.set_yticks(np.arange(len(found.names)) + 0.5, labels, fontsize=6.5)
            axes.tick_params(which="both", length=0)
            axes.minorticks_off()
            axes.grid(visible=False)
            axes.invert_yaxis()
            bar = figure.colorbar(image, ax=axes, pad=0.015, fraction=0.1)
            _as_lines(bar)
            bar.ax.tick_params(labelsize=8)
        return finished(
            figure, "correlations", "Correlations",
            "Of the ranks of all pairs of track and identification variables. Mind the right scale: it ends at 0.1.",
        )  # fmt: skip


def separation_figure(found: Sequence[Separation]) -> Plot:
    """The ROC curves of the two-sample tests."""
    with styled():
        figure, axes = _figure(6.2, 5.0)
        for colour, test in zip(_COLOURS, found, strict=False):
            axes.plot(*np.array(test.curve).T, color=colour, linewidth=1.8, label=f"{test.what}: AUC {test.auc:.3f}")
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=":")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="reference above the cut", ylabel="flash above the cut")
        axes.legend(loc="lower right")
        return finished(
            figure, "separation", "A classifier that is trained to tell flash from reference",
            "ROC curves on rows that it was not trained on. On the diagonal it cannot tell the two apart.",
        )  # fmt: skip


def mass_figure(pair: Pair, found: Sequence[Closure]) -> Plot:
    """Reconstructed minus true mass of the signal's decays."""
    leaves = decays(pair.generated)
    with styled():
        figure, grid = _grid(len(found), 2, size=(4.4, 3.1))
        for axes, closure in zip(grid, found, strict=False):
            ours, theirs = (differences(side, pair.generated, leaves[closure.decay])[0] for side in pair.sides)
            _histograms(axes, ours, theirs, ends=(-4 * closure.reference, 4 * closure.reference))
            axes.set_title(closure.name, fontsize=10)
            axes.set_xlabel("reconstructed minus true mass [MeV]", fontsize=10)
        return finished(
            figure, "masses", "Resolution of masses",
            "Decays all of whose daughters are long tracks; points: reference, line: flash.",
        )  # fmt: skip


def _figure(width: float, height: float, columns: int = 1, **margins: float) -> tuple[Figure, Any]:
    # Margins by hand: matplotlib's own layout takes half of the time that a figure takes.
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(
        1, columns, gridspec_kw={"left": 0.12, "right": 0.97, "bottom": 0.12, "top": 0.95} | margins
    )


def _as_lines(bar: Colorbar) -> None:
    """The page allows no images, not even within its own figures."""
    if bar.solids is not None:
        bar.solids.set_rasterized(False)
        # Without, the background shines through between its colours.
        bar.solids.set_edgecolor("face")


def _grid(count: int, columns: int, size: tuple[float, float] = (2.5, 1.9)) -> tuple[Figure, list[Axes]]:
    """Small figures in rows; those that are left over are not drawn."""
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    width, height = size
    figure = Figure(figsize=(width * columns, height * rows))
    margins = {"left": 0.5 / width / columns, "right": 0.98, "bottom": 0.5 / height / rows,
               "top": 1 - 0.25 / height / rows, "wspace": 0.24, "hspace": 0.4}  # fmt: skip
    axes = list(figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins).ravel())
    for one in axes:
        one.tick_params(labelsize=8)
        # Small figures are clearer without them, and drawn in half of the time.
        one.minorticks_off()
    for one in axes[count:]:
        one.remove()
    return figure, axes


def _histograms(axes: Axes, reference: Floats, flash: Floats, ends: tuple[float, float] | None = None) -> None:
    low, high = ends or tuple(np.quantile(reference, [_OUTSIDE, 1 - _OUTSIDE]))
    whole = bool((reference == np.rint(reference)).all()) and high - low <= _BINS
    edges = np.arange(low, high + 2) - 0.5 if whole else np.linspace(low, high if high > low else low + 1, _BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    counts = [np.histogram(np.clip(values, middle[0], middle[-1]), edges)[0] for values in (reference, flash)]
    ours, theirs = (count / len(values) for count, values in zip(counts, (reference, flash), strict=True))
    axes.stairs(theirs, edges, color=FLASH, linewidth=1.4, baseline=None)
    points = {"fmt": "o", "markersize": 2.2, "linewidth": 0.8, "color": SECOND}
    axes.errorbar(middle, ours, yerr=np.sqrt(np.maximum(counts[0], 0)) / len(reference), **points)  # type: ignore[arg-type]
    if ends is None and not whole and ours.max() > 30 * np.median(ours[ours > 0]):
        axes.set_yscale("log")


def _profile(axes: Axes, bins: Sequence[tuple[float, ...]], colour: str, label: str) -> None:
    """Reference and flash in bins of low, high, reference, flash, error."""
    if bins:
        low, high, ours, theirs, error = np.array(bins).T
        middle = (low + high) / 2
        axes.errorbar(middle, ours, yerr=error, fmt="o", markersize=3, linewidth=0.9, color=colour)
        axes.plot(middle, theirs, color=colour, linewidth=1.4, label=label)


def _legend(axes: Axes, **options: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, **options)


def _condition_axis(axes: Axes, condition: str) -> None:
    axes.set_xlabel(_LABELS[condition], fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(6 if condition not in "xy" else 4))
    if condition == "origin z":
        # Most particles are from the collision, some from a metre behind.
        axes.set_xscale("symlog", linthresh=100, linscale=1.5)
        axes.set_xticks([-100, 0, 100, 1000], ["\N{MINUS SIGN}100", "0", "100", "1000"])
        axes.minorticks_off()
