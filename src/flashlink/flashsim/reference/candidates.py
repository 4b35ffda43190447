"""Tracks as the identifying detectors meet them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The tracks, as the identifying detectors meet them; arrays of shape (n,).

    Attributes:
        event: Number of the event.
        key: Number that tells the tracks of an event apart: the particle, beyond all particles for ghosts.
        species: True species at the origin.
        later: True species behind the stations, after decays in flight.
        p: True momentum, MeV.
        measured_p: As fitted, MeV: what the hypotheses are calculated with.
        category: Of the track.
        ghost: Whether noise made it.
        decay_z: Where it decays, mm.
        end_z: Where it ended, infinite if it came through, mm.
        multiplicity: Charged particles of the event.
    """

    event: Integers
    key: Integers
    species: Integers
    later: Integers
    p: Floats
    measured_p: Floats
    category: npt.NDArray[np.int8]
    ghost: Flags
    decay_z: Floats
    end_z: Floats
    multiplicity: Floats
