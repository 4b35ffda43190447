"""The figures of tracks, identification and vertices: flash against reference, particle by particle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flashlink.flashsim.parameterizations.condition import KAON, MUON, PION, PROTON
from flashlink.flashsim.report.comparison import Comparison, Detector, vertex_residuals
from flashlink.flashsim.report.drawing import (
    FLASH,
    FOURTH,
    INK,
    SECOND,
    THIRD,
    Plot,
    draw_both,
    finished,
    legend_of_both,
    momentum_axis,
    panels,
    ratio_axis,
)
from flashlink.flashsim.report.statistics import efficiency, median, resolution
from flashlink.flashsim.samples import DOWNSTREAM, LONG, UPSTREAM

Floats = npt.NDArray[np.float64]

#: Bins in momentum, GeV, and in pseudorapidity.
P_EDGES = np.geomspace(1.5, 150, 13)
ETA_EDGES = np.linspace(1.5, 5.5, 17)

#: Number, colour and name of a species in the figures.
LINES = ((MUON, THIRD, "muon"), (PION, FLASH, "pion"), (KAON, SECOND, "kaon"), (PROTON, FOURTH, "proton"))


def all_plots(comparison: Comparison) -> list[Plot]:
    """All figures of this module, in the order of the page."""
    return [
        efficiency_by_category(comparison),
        efficiency_by_species(comparison),
        efficiency_by_eta(comparison),
        momentum_resolution(comparison),
        impact_resolution(comparison),
        pulls(comparison),
        kaon_identification(comparison),
        kaon_power(comparison),
        muon_identification(comparison),
        vertex_resolution(comparison),
    ]


def efficiency_by_category(comparison: Comparison) -> Plot:
    """Probability of each track category against momentum."""
    figure, upper, lower = panels()
    chosen = comparison.prompt
    p = 10 ** (comparison.condition.log_p[chosen] - 3)
    for category, colour, label in (
        (LONG, FLASH, "long"),
        (UPSTREAM, SECOND, "upstream"),
        (DOWNSTREAM, THIRD, "downstream"),
    ):
        reference, flash = (efficiency(p, d.category[chosen] == category, P_EDGES) for d in comparison.detectors)
        if np.nansum(reference.value) > 0:
            draw_both(upper, lower, P_EDGES, reference, flash, colour, label)
    upper.set(ylabel="efficiency", ylim=(0, 1.05))
    ratio_axis(lower, (0.7, 1.3))
    momentum_axis(lower)
    legend_of_both(upper, ncols=2, loc="upper left")
    return finished(
        figure, "efficiency-category", "Efficiency by track category",
        "Charged particles from within 5 mm of the primary vertex with 2 < η < 5 that are reconstructed in each "
        "category, acceptance included. Errors are binomial (Clopper-Pearson, 68 %).",
    )  # fmt: skip


def efficiency_by_species(comparison: Comparison) -> Plot:
    """Probability of a long track against momentum, by species."""
    figure, upper, lower = panels()
    for number, colour, name in LINES:
        chosen = comparison.prompt & (comparison.condition.species == number)
        p = 10 ** (comparison.condition.log_p[chosen] - 3)
        edges = P_EDGES[::2]
        reference, flash = (efficiency(p, d.category[chosen] == LONG, edges) for d in comparison.detectors)
        draw_both(upper, lower, edges, reference, flash, colour, name)
    upper.set(ylabel="efficiency of long tracks", ylim=(0, 1.05))
    ratio_axis(lower, (0.7, 1.3))
    momentum_axis(lower)
    legend_of_both(upper, ncols=2, loc="lower right")
    return finished(
        figure, "efficiency-species", "Efficiency by species",
        "Long tracks of prompt particles with 2 < η < 5: hadrons are absorbed and kaons decay.",
    )  # fmt: skip


def efficiency_by_eta(comparison: Comparison) -> Plot:
    """Probability of a long track against pseudorapidity."""
    figure, upper, lower = panels()
    away = np.sqrt(sum((comparison.particles[axis] - comparison.particles[f"pv_{axis}"]) ** 2 for axis in "xyz"))
    for low, high, colour in ((2, 5, SECOND), (5, 20, FLASH), (20, 1000, THIRD)):
        p = 10 ** (comparison.condition.log_p - 3)
        chosen = (away < 5) & (p > low) & (p < high)
        eta = comparison.condition.eta[chosen]
        label = f"{low} < p < {high} GeV" if high < 1000 else f"p > {low} GeV"
        reference, flash = (efficiency(eta, d.category[chosen] == LONG, ETA_EDGES) for d in comparison.detectors)
        draw_both(upper, lower, ETA_EDGES, reference, flash, colour, label)
    upper.set(ylabel="efficiency of long tracks", ylim=(0, 1.25))
    ratio_axis(lower, (0.7, 1.3))
    lower.set_xlabel("pseudorapidity η")
    legend_of_both(upper, ncols=2, loc="upper left")
    return finished(
        figure, "efficiency-eta", "Acceptance and efficiency against pseudorapidity",
        "Long tracks of prompt particles in three slices of momentum; the edges of the acceptance are on both sides.",
    )  # fmt: skip


def momentum_resolution(comparison: Comparison) -> Plot:
    """dp/p of long tracks, as it is and as it is quoted, against momentum."""
    figure, upper, lower = panels()
    curves = []
    for detector in comparison.detectors:
        p, residual, sigma = _long(comparison, detector)
        # d(q/p) / (q/p) = -dp/p, to first order.
        curves.append(
            (resolution(p, 100 * residual[:, 4] * p * 1e3, P_EDGES), median(p, 100 * sigma[:, 4] * p * 1e3, P_EDGES))
        )
    for index, (colour, label) in enumerate(((FLASH, "of the residuals"), (SECOND, "quoted by the fit"))):
        draw_both(upper, lower, P_EDGES, curves[0][index], curves[1][index], colour, label)
    upper.set(ylabel=r"$\sigma_{68}(p)/p$ [%]", ylim=(0, None))
    ratio_axis(lower, (0.8, 1.2))
    momentum_axis(lower)
    legend_of_both(upper, loc="upper left")
    return finished(
        figure, "resolution-p", "Momentum resolution",
        "Half-width of the central 68 % of (p \N{MINUS SIGN} true p)/p of long tracks, and the median of what their "
        "fits quote.",
    )  # fmt: skip


def impact_resolution(comparison: Comparison) -> Plot:
    """Residual of x and y at the point closest to the beam against the inverse transverse momentum."""
    figure, upper, lower = panels()
    edges = np.linspace(0, 2, 11)
    for column, colour, label in ((0, FLASH, "x"), (1, SECOND, "y")):
        curves = []
        for detector in comparison.detectors:
            _, residual, _ = _long(comparison, detector)
            curves.append(resolution(_inverse_pt(comparison, detector), 1e3 * residual[:, column], edges))
        draw_both(upper, lower, edges, curves[0], curves[1], colour, label)
    upper.set(ylabel=r"$\sigma_{68}$ at the beam [µm]", ylim=(0, None))
    ratio_axis(lower, (0.8, 1.2))
    lower.set_xlabel(r"$1/p_\mathrm{T}$ [1/GeV]")
    legend_of_both(upper, loc="upper left")
    return finished(
        figure, "resolution-ip", "Impact parameter resolution",
        "Half-width of the central 68 % of reconstructed minus true x and y of prompt long tracks where they are "
        "closest to the beam; scattering makes it grow with 1/pT.",
    )  # fmt: skip


def pulls(comparison: Comparison) -> Plot:
    """Residuals over quoted errors of all five parameters."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    edges = np.linspace(-5, 5, 51)
    centres = (edges[:-1] + edges[1:]) / 2
    names = ("x", "y", "$t_x$", "$t_y$", "q/p")
    for index, (axis, name) in enumerate(zip(axes, names, strict=False)):
        for detector in comparison.detectors:
            pull = detector.pulls[_made(comparison, detector)][:, index]
            density = np.histogram(pull, edges)[0] / max(len(pull), 1) / np.diff(edges)
            if detector.name == "flash":
                axis.stairs(density, edges, color=FLASH, linewidth=1.6)
            else:
                axis.plot(centres, density, "o", markersize=2.5, color=INK)
        axis.plot(centres, np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi), color=INK, linewidth=0.9, linestyle=":")
        axis.set_yscale("log")
        axis.set_ylim(1e-4, 2)
        axis.text(0.05, 0.9, name, transform=axis.transAxes)
    axes[3].set_xlabel("pull")
    axes[4].set_xlabel("pull")
    # Below it is no panel whose axis it could share.
    axes[2].tick_params(labelbottom=True)
    axes[5].axis("off")
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=3, linestyle=""),
        Line2D([], [], color=FLASH, linewidth=1.6),
        Line2D([], [], color=INK, linewidth=0.9, linestyle=":"),
    ]
    axes[5].legend(handles, ["reference", "flash", "unit Gaussian"], loc="center")
    return finished(
        figure, "pulls", "Pulls",
        "Residuals of long tracks over the errors that they quote, for position, slopes and charge over momentum, per "
        "unit; logarithmic, so that the tails show.",
    )  # fmt: skip


def kaon_identification(comparison: Comparison) -> Plot:
    """Kaon efficiency and pion misidentification of dll_k > 0 against momentum."""
    figure, upper, lower = panels()
    for species, colour, label in ((KAON, FLASH, "K as K"), (PION, SECOND, "π as K"), (PROTON, FOURTH, "p as K")):
        curves = []
        for detector in comparison.detectors:
            p, dll = _dll(comparison, detector, species, "dll_k")
            curves.append(efficiency(p, dll > 0, P_EDGES))
        draw_both(upper, lower, P_EDGES, curves[0], curves[1], colour, label)
    upper.set(ylabel="share with dll_k > 0", ylim=(0, 1.3))
    ratio_axis(lower, (0.5, 1.5))
    momentum_axis(lower)
    legend_of_both(upper, ncols=2, loc="upper left")
    return finished(
        figure, "pid-kaon", "Kaon identification",
        "Long tracks whose likelihood prefers the kaon to the pion, by true species, against momentum.",
    )  # fmt: skip


def kaon_power(comparison: Comparison) -> Plot:
    """Pion misidentification against kaon efficiency for all thresholds, in slices of momentum."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    slices = ((3, 5, SECOND), (5, 10, FLASH), (40, 60, THIRD), (60, 100, FOURTH))
    thresholds = np.linspace(-60, 60, 241)
    for low, high, colour in slices:
        for detector in comparison.detectors:
            shares = []
            for species in (KAON, PION):
                p, dll = _dll(comparison, detector, species, "dll_k")
                values = np.sort(dll[(p > low) & (p < high)])
                shares.append(1 - np.searchsorted(values, thresholds) / max(len(values), 1))
            if detector.name == "flash":
                axes.plot(*shares, color=colour, linewidth=1.8, label=f"{low} < p < {high} GeV")
            else:
                axes.plot(shares[0][::4], shares[1][::4], "o", markersize=4, color=colour)
    axes.set(
        yscale="log", xlim=(0.3, 1.01), ylim=(1e-3, 1.2), xlabel="kaon efficiency", ylabel="pion misidentification"
    )
    legend_of_both(axes, loc="upper left")
    return finished(
        figure, "pid-power", "Separation of kaons and pions",
        "Each curve runs over the threshold on dll_k in a slice of momentum: down and to the right is better.",
    )  # fmt: skip


def muon_identification(comparison: Comparison) -> Plot:
    """Share of long tracks with is_muon against momentum, by true species."""
    figure, upper, lower = panels()
    edges = P_EDGES[::2]
    for species, colour, label in LINES:
        curves = []
        for detector in comparison.detectors:
            p, is_muon = _dll(comparison, detector, species, "is_muon")
            curves.append(efficiency(p, is_muon.astype(bool), edges))
        draw_both(upper, lower, edges, curves[0], curves[1], colour, label)
    upper.set(yscale="log", ylabel="share with is_muon", ylim=(2e-3, 8))
    ratio_axis(lower, (0.4, 1.6))
    momentum_axis(lower)
    legend_of_both(upper, ncols=3, loc="upper left")
    return finished(
        figure, "pid-muon", "Muon identification",
        "Long tracks that reach the muon chambers, by true species: efficiency for muons, misidentification for "
        "hadrons (decays in flight and punch-through).",
    )  # fmt: skip


def vertex_resolution(comparison: Comparison) -> Plot:
    """Resolution of the primary vertex against multiplicity."""
    figure, upper, lower = panels()
    samples = [vertex_residuals(detector) for detector in comparison.detectors]
    low, high = np.quantile(samples[0][0], [0.01, 0.99])
    edges = np.linspace(low, high + 1, 8)
    for axis, scale, colour, label in ((0, 1e3, FLASH, "x"), (1, 1e3, SECOND, "y"), (2, 1e2, THIRD, "z / 10")):
        curves = [resolution(multiplicity, scale * residual[:, axis], edges) for multiplicity, residual in samples]
        draw_both(upper, lower, edges, curves[0], curves[1], colour, label)
    upper.set(ylabel=r"$\sigma_{68}$ of the vertex [µm]", ylim=(0, None))
    ratio_axis(lower, (0.6, 1.4))
    lower.set_xlabel("charged particles in the event")
    legend_of_both(upper, ncols=2, loc="upper right")
    return finished(
        figure, "vertex", "Primary vertex resolution",
        "Half-width of the central 68 % of reconstructed minus true positions; along the beam divided by ten.",
    )  # fmt: skip


def _made(comparison: Comparison, detector: Detector) -> npt.NDArray[np.bool_]:
    """Which of the particles with a track have a long one and are prompt."""
    made = detector.row >= 0
    return np.asarray(((detector.category == LONG) & comparison.prompt)[made])


def _long(comparison: Comparison, detector: Detector) -> tuple[Floats, Floats, Floats]:
    """True momentum in GeV, residuals and quoted errors of prompt long tracks."""
    chosen = _made(comparison, detector)
    p = 10 ** (comparison.condition.log_p[detector.row >= 0][chosen] - 3)
    tracks = detector.residuals
    sigma = np.sqrt(np.einsum("nii->ni", tracks.covariance[chosen]))
    return p, tracks.residual[chosen], sigma


def _inverse_pt(comparison: Comparison, detector: Detector) -> Floats:
    """1/pT in 1/GeV of prompt long tracks."""
    condition = comparison.condition[detector.row >= 0][_made(comparison, detector)]
    return np.asarray(np.cosh(condition.eta) / 10 ** (condition.log_p - 3))


def _dll(comparison: Comparison, detector: Detector, species: int, column: str) -> tuple[Floats, Floats]:
    """True momentum in GeV and a column of the prompt long tracks of a species."""
    chosen = (detector.category == LONG) & comparison.prompt & (comparison.condition.species == species)
    return 10 ** (comparison.condition.log_p[chosen] - 3), np.asarray(detector.tracks[column][detector.row[chosen]])
