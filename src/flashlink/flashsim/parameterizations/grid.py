"""Binnings: axes, and the grid of cells that the tables share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Condition, Floats, Integers


@dataclass(frozen=True)
class Axis:
    """Bins of one variable; values beyond the ends belong to the first and last bin.

    Attributes:
        name: The variable, with its unit if it has one.
        edges: Increasing edges; one more than bins.
    """

    name: str
    edges: tuple[float, ...]

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def locate(self, values: Floats) -> Integers:
        """The bin of each value."""
        return np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, self.bins - 1)

    @classmethod
    def following(cls, name: str, values: Floats, bins: int) -> Axis:
        """Bins over the range of `values`, half of them where the values are and half evenly, so none is wide.

        The edges are at equal steps of the mean of two distributions: that of the values and the uniform one.
        """
        low, high = float(values.min()), np.nextafter(float(values.max()), np.inf)
        places = np.linspace(low, high, 20 * bins + 1)
        below = np.searchsorted(np.sort(values), places) / len(values)
        steps = (below + np.linspace(0, 1, len(places))) / 2
        edges = np.unique([low, *np.interp(np.linspace(0, 1, bins + 1)[1:-1], steps, places), high])
        return cls(name, tuple(float(edge) for edge in edges))

    @classmethod
    def quantiles(cls, name: str, values: Floats, fractions: Sequence[float]) -> Axis:
        """Bins between the quantiles of `values` at `fractions` (which are inner edges); equal quantiles merge."""
        edges = np.unique([values.min(), *np.quantile(values, fractions), np.nextafter(values.max(), np.inf)])
        return cls(name, tuple(float(edge) for edge in edges))


@dataclass(frozen=True)
class Grid:
    """The cells in momentum and pseudorapidity, with slices in origin and multiplicity, that the tables share.

    Attributes:
        log_p: log10 of the momentum in MeV.
        eta: Pseudorapidity.
        origin: z of the production vertex; most particles are in the first slice, decay products in the others.
        multiplicity: Charged particles of the event.
    """

    log_p: Axis
    eta: Axis
    origin: Axis
    multiplicity: Axis

    @classmethod
    def fit(cls, condition: Condition) -> Grid:
        """A grid that covers the tracks of the training, with slices of origin and multiplicity by quantiles."""
        return cls(
            log_p=Axis.following("log10(p/MeV)", condition.log_p, 64),
            eta=Axis.following("eta", condition.eta, 64),
            origin=Axis.quantiles("origin z [mm]", condition.origin_z, (0.90, 0.925, 0.95, 0.975)),
            multiplicity=Axis.quantiles("multiplicity", condition.multiplicity, (0.25, 0.5, 0.75)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Bins in log_p and eta."""
        return self.log_p.bins, self.eta.bins

    def accepts(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Where tracks can be: beyond its edges in eta and below its least momentum, training had not one."""
        eta = (condition.eta >= self.eta.edges[0]) & (condition.eta <= self.eta.edges[-1])
        return np.asarray(eta & (condition.log_p >= self.log_p.edges[0]))

    def locate(self, condition: Condition) -> Cells:
        """The cells that the particles fall into."""
        return Cells(
            self.log_p.locate(condition.log_p),
            self.eta.locate(condition.eta),
            self.origin.locate(condition.origin_z),
            self.multiplicity.locate(condition.multiplicity),
        )


@dataclass(frozen=True)
class Cells:
    """Indices of bins on the axes of a `Grid`; all of shape (particles,)."""

    log_p: Integers
    eta: Integers
    origin: Integers
    multiplicity: Integers

    def __getitem__(self, rows: npt.NDArray[Any]) -> Cells:
        """The cells of some of the particles."""
        return Cells(self.log_p[rows], self.eta[rows], self.origin[rows], self.multiplicity[rows])
