"""What the parameterizations of whole events are conditioned on: multiplicity, and the tracks found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.samples import LONG, UPSTREAM

#: A particle that was made nearer to the primary vertex than this comes from it, mm.
PROMPT = 0.01


@dataclass(frozen=True)
class EventCondition:
    """Events, or the event of each ghost; all arrays have one row for each.

    Attributes:
        multiplicity: Charged particles of the event.
        prompt: Long and upstream tracks of particles from the primary vertex, which have hits in the vertex detector.
        displaced: Those of particles from elsewhere.
        information: What the tracks of both kinds know of x, y and z of a vertex that all of them come from: sums of
            inverse variances, 1/mm^2, shape (rows, 3).
    """

    multiplicity: Floats
    prompt: Floats
    displaced: Floats
    information: Floats

    @classmethod
    def of(
        cls, multiplicity: Floats, event: Integers, tracks: Mapping[str, npt.NDArray[Any]],
        prompt: npt.NDArray[np.bool_],
    ) -> EventCondition:  # fmt: skip
        """The condition of events.

        Args:
            multiplicity: Of each event, shape (events,).
            event: Index of the event of each track, shape (tracks,).
            tracks: Columns of a reconstructed sample, without ghosts.
            prompt: Whether the particle of each track comes from the primary vertex.
        """
        events = len(multiplicity)
        seen = (tracks["category"] == LONG) | (tracks["category"] == UPSTREAM)
        known = [
            np.square(tracks[slope]) / tracks[f"cov_{axis}_{axis}"] if slope else 1 / tracks[f"cov_{axis}_{axis}"]
            for axis, slope in (("x", ""), ("y", ""), ("x", "tx"), ("y", "ty"))
        ]
        sums = [np.bincount(event[seen], values[seen], events) for values in (*known[:2], known[2] + known[3])]
        counts = [np.bincount(event[seen & kind], minlength=events).astype(np.float64) for kind in (prompt, ~prompt)]
        return cls(multiplicity, counts[0], counts[1], np.stack(sums, axis=1).astype(np.float64))

    def __getitem__(self, rows: npt.NDArray[Any]) -> EventCondition:
        """The condition of some of the events, each as often as it is named."""
        return EventCondition(
            self.multiplicity[rows], self.prompt[rows], self.displaced[rows], self.information[rows]
        )  # fmt: skip

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.multiplicity)


def from_primary(particles: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Which of the particles of a generated sample come from the primary vertex."""
    away = [particles[axis] - particles[f"pv_{axis}"] for axis in "xyz"]
    return np.asarray(np.square(away).sum(axis=0) < PROMPT**2)
