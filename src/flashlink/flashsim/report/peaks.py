"""The mass peaks: fits of both simulations, the width that the tracks' errors explain, and their figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hist
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flashlink.flashsim.kinematics import pdg_mass
from flashlink.flashsim.report.comparison import Comparison, Detector, Floats
from flashlink.flashsim.report.drawing import FLASH, INK, Plot, finished, panels
from flashlink.flashsim.report.fits import Peak, expected_half_width, fit_peak, sigma68


@dataclass(frozen=True)
class Decay:
    """A peak that the report shows.

    Attributes:
        name: Identifier.
        title: As the page names it.
        short: As the table names it.
        pdg: Of the candidates.
        column: Of `flashlink.flashsim.analyse.CANDIDATES`, the mass.
        half_range: MeV around the mass of the particle data table.
        label: Of the axis.
    """

    name: str
    title: str
    short: str
    pdg: int
    column: str
    half_range: float
    label: str


DECAYS = (
    Decay("jpsi", "J/ψ → μ⁺μ⁻", "J/ψ", 443, "mass", 150, r"$m(\mu^+\mu^-)$ [MeV]"),
    Decay(
        "b",
        "B⁺ → J/ψ K⁺, J/ψ mass constrained",
        "B⁺, constrained",
        521,
        "constrained_mass",
        150,
        r"$m(J/\psi\,K^+)$ [MeV]",
    ),
    Decay("b-free", "B⁺ → J/ψ K⁺, unconstrained", "B⁺, unconstrained", 521, "mass", 200, r"$m(\mu^+\mu^-K^+)$ [MeV]"),
)


@dataclass(frozen=True)
class Measured:
    """A peak in one simulation.

    Attributes:
        decay: Which.
        detector: "flash" or "reference".
        fit: Of all its events; None with too few candidates.
        expected: Half-width, MeV, that the mass errors of the true candidates explain.
        pull: Half-width of (mass - true mass) / mass error of true candidates: 1 if the errors are right.
        true: Number of true candidates.
    """

    decay: Decay
    detector: str
    fit: Peak | None
    expected: float
    pull: float
    true: int


def measure(decay: Decay, detector: Detector) -> Measured:
    """Fit a peak in one simulation, and compute what width it should have."""
    masses = detector.masses(decay.pdg, decay.column, compared=False)
    errors = detector.masses(decay.pdg, f"{decay.column}_error", compared=False)
    true = detector.masses(decay.pdg, "true", compared=False) == 1
    centre = pdg_mass(decay.pdg)
    enough = true.sum() >= 10
    return Measured(
        decay=decay,
        detector=detector.name,
        fit=fit_peak(masses, centre - decay.half_range, centre + decay.half_range, centre),
        expected=expected_half_width(errors[true]),
        pull=sigma68((masses[true] - centre) / errors[true]) if enough else float("nan"),
        true=int(true.sum()),
    )


def peak_plot(decay: Decay, comparison: Comparison) -> Plot:
    """Both simulations of the same events overlaid, each with its fit, and their difference in units of its error."""
    centre = pdg_mass(decay.pdg)
    axis = hist.axis.Regular(50, centre - decay.half_range, centre + decay.half_range)
    figure, upper, lower = panels()
    filled: dict[str, Floats] = {}
    for detector in comparison.detectors:
        histogram: hist.Hist[Any] = hist.Hist(axis).fill(detector.masses(decay.pdg, decay.column, compared=True))
        filled[detector.name] = histogram.values().astype(np.float64)
        if detector.name == "flash":
            mplhep.histplot(histogram, ax=upper, histtype="fill", alpha=0.3, color=FLASH, label="flash", flow="none")
        else:
            # Empty bins would each show an error bar of their own.
            shown = histogram.values() > 0
            counts = histogram.values()[shown]
            upper.errorbar(axis.centers[shown], counts, np.sqrt(counts), fmt="o", markersize=3.5, color=INK,
                           linewidth=1.1, label="reference")  # fmt: skip
        _draw_fit(upper, decay, detector, axis)
    difference = filled["flash"] - filled["reference"]
    error = np.sqrt(np.maximum(filled["flash"] + filled["reference"], 1))
    lower.bar(axis.centers, difference / error, width=axis.widths, color=FLASH, alpha=0.6)
    lower.set(
        xlabel=decay.label, ylabel=r"difference / $\sigma$", ylim=(-4.5, 4.5), xlim=(axis.edges[0], axis.edges[-1])
    )
    upper.set(ylabel=f"candidates / {axis.widths[0]:.0f} MeV", ylim=(0, None), xlabel="")
    upper.axvline(centre, color=INK, linewidth=0.9, linestyle=":", label="PDG mass")
    upper.legend(loc="upper left")
    caption = (
        f"Candidates in the {comparison.events:,} events that both simulations have; no other normalisation. "
        "Lines: fits of a double-sided Crystal Ball function on an exponential background. Below: flash minus "
        "reference in units of the statistical error of the difference."
    )
    return finished(figure, decay.name, decay.title, caption)


def mass_pulls(comparison: Comparison) -> Plot:
    """Distance of true candidates from the true mass in units of their mass errors, for each decay."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    edges = np.linspace(-5, 5, 26)
    centres = (edges[:-1] + edges[1:]) / 2
    for decay, axes in zip(DECAYS, figure.subplots(3, 1, sharex=True), strict=True):
        for detector in comparison.detectors:
            true = detector.masses(decay.pdg, "true", compared=True) == 1
            difference = detector.masses(decay.pdg, decay.column, compared=True)[true] - pdg_mass(decay.pdg)
            counts = np.histogram(
                difference / detector.masses(decay.pdg, f"{decay.column}_error", compared=True)[true], edges
            )[0]
            if detector.name == "flash":
                axes.stairs(counts, edges, color=FLASH, alpha=0.3, fill=True, label="flash")
            else:
                axes.errorbar(centres[counts > 0], counts[counts > 0], np.sqrt(counts[counts > 0]), fmt="o",
                              markersize=3.5, color=INK, linewidth=1.1, label="reference")  # fmt: skip
            gauss = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi) * (edges[1] - edges[0]) * counts.sum()
            style: dict[str, Any] = {
                "color": FLASH if detector.name == "flash" else INK,
                "linestyle": "--",
                "linewidth": 1.2,
            }
            axes.plot(centres, gauss, **style)
        axes.set(ylim=(0, None), ylabel="candidates", xlim=(-5, 5))
        axes.text(0.02, 0.85, decay.label.split(" [")[0], transform=axes.transAxes)
    axes.set_xlabel("(mass \N{MINUS SIGN} PDG mass) / mass error")
    figure.axes[0].legend(loc="upper right")
    return finished(
        figure, "mass-pulls", "Mass pulls",
        "True candidates in the same events: distance from the mass of the particle data table in units of the error "
        "that the covariances of the tracks give. Dashed: Gaussians of unit width with as many entries.",
    )  # fmt: skip


def _draw_fit(axes: Axes, decay: Decay, detector: Detector, axis: hist.axis.Regular) -> None:
    masses = detector.masses(decay.pdg, decay.column, compared=True)
    fit = fit_peak(masses, axis.edges[0], axis.edges[-1], pdg_mass(decay.pdg))
    if fit is None:
        return
    grid = np.linspace(axis.edges[0], axis.edges[-1], 400)
    flash = detector.name == "flash"
    style: dict[str, Any] = {"color": FLASH if flash else INK, "linewidth": 1.6 if flash else 1.2}
    axes.plot(grid, fit.curve(grid) * axis.widths[0], **style)
    axes.plot(grid, fit.background_curve(grid) * axis.widths[0], linestyle="--", **style)
