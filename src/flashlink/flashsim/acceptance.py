"""What a generated sample keeps of the particles of an event: those that the spectrometer can see, and the signal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns

#: What the spectrometer can see: pseudorapidity, least momentum in MeV, last production vertex along the beam in mm.
ETA_RANGE = (1.4, 6.0)
LEAST_MOMENTUM = 1000.0
LAST_ORIGIN = 2500.0

#: Charged particles that live long enough, and those of them whose positive PDG numbers have a negative charge.
CHARGED = (11, 13, 211, 321, 2212)
LEPTONS = (11, 13)

PHOTON = 22


def kept(columns: Columns, occupancy: npt.NDArray[np.int64] | None = None) -> Columns:
    """Keep what can be seen and the signal chain, numbered, with the multiplicity of the event.

    Args:
        columns: ``event``, ``pdg``, ``charge``, momentum in MeV, place in mm, ``stable`` and ``signal``; ordered by
            event, the signal chain of an event first.
        occupancy: What counts as one event for the multiplicity, where that is more than ``event``: shape (rows,).

    Returns:
        The rows that are kept, with the columns ``particle`` and ``multiplicity`` added.
    """
    rows = np.flatnonzero(columns["signal"] | _visible(columns))
    columns = {name: values[rows] for name, values in columns.items()}
    sizes = np.unique(columns["event"], return_counts=True)[1]
    seen = columns["stable"] & (columns["charge"] != 0)
    together = np.unique(columns["event"] if occupancy is None else occupancy[rows], return_inverse=True)[1]
    multiplicity = np.bincount(together, weights=seen)[together] if len(rows) else np.zeros(0)
    return columns | {"particle": places(sizes), "multiplicity": multiplicity}


def places(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, … in each group of the given sizes."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _visible(columns: Columns) -> npt.NDArray[np.bool_]:
    transverse = np.hypot(columns["px"], columns["py"])
    # What flies along the beam has no pseudorapidity; it is not seen.
    eta = np.arcsinh(columns["pz"] / np.maximum(transverse, 1e-9))
    return (
        (eta > ETA_RANGE[0])
        & (eta < ETA_RANGE[1])
        & (np.hypot(transverse, columns["pz"]) > LEAST_MOMENTUM)
        & (columns["z"] < LAST_ORIGIN)
    )
