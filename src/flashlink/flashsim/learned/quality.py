"""The quality of tracks: hits, degrees of freedom, chi2, ghost probability, as numbers that a network can draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.samples import HITS

#: The continuous ones.
SMOOTH = ("log chi2/ndf", "ghost log odds")


@dataclass(frozen=True)
class Degrees:
    """What a track's ndf is, if it is a sum.

    Attributes:
        terms: A constant and multiples of `HITS`; empty if ndf does not follow from the hits.
    """

    terms: tuple[float, ...]

    @classmethod
    def of(cls, tracks: Mapping[str, npt.NDArray[Any]]) -> Degrees:
        """The terms that sum to ndf for all tracks of a reconstructed sample."""
        design = np.stack([np.ones(len(tracks["ndf"])), *(tracks[name] for name in HITS)], axis=1).astype(np.float64)
        found = np.rint(np.linalg.lstsq(design, tracks["ndf"].astype(np.float64), rcond=None)[0])
        return cls(tuple(found.tolist()) if (design @ found == tracks["ndf"]).all() else ())

    @property
    def counted(self) -> tuple[str, ...]:
        """What has to be drawn as numbers of something."""
        return HITS if self.terms else (*HITS, "ndf")

    def quality(self, values: Mapping[str, Floats]) -> dict[str, Floats]:
        """The columns chi2, ndf and ghost_probability, from what was drawn."""
        if self.terms:
            constant, *factors = self.terms
            hits = (values[name] for name in HITS)
            # One track in a million is drawn with fewer hits than a fit needs: it has the least that a fit has.
            ndf = np.maximum(constant + sum(factor * count for factor, count in zip(factors, hits, strict=True)), 1.0)
        else:
            ndf = values["ndf"]
        return {
            "chi2": np.exp(values["log chi2/ndf"]) * ndf,
            "ndf": ndf,
            "ghost_probability": 1 / (1 + np.exp(-values["ghost log odds"])),
        }


def encoded(tracks: Mapping[str, npt.NDArray[Any]]) -> dict[str, Floats]:
    """Hits, ndf and `SMOOTH` of the tracks of a reconstructed sample, each of shape (tracks,)."""
    values = {name: tracks[name].astype(np.float64) for name in (*HITS, "ndf")}
    values["log chi2/ndf"] = np.log(np.maximum(tracks["chi2"] / np.maximum(tracks["ndf"], 1), 1e-6))
    ghost = np.clip(tracks["ghost_probability"], 1e-9, 1 - 1e-9)
    return values | {"ghost log odds": np.log(ghost / (1 - ghost))}
