"""What is combined of the likelihoods of the single detectors, by the same rule for every simulation.

All are logarithms of the likelihood of a hypothesis minus that of the pion. The sums over the detectors are the
combined ones; probabilities follow by the theorem of Bayes, with the shares of the species among the tracks of b events
as priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

#: Of the Cherenkov detectors, the calorimeter and the muon chambers: those that can differ from the pion's.
PARTS = ("rich_dll_e", "rich_dll_mu", "rich_dll_k", "rich_dll_p", "calo_dll_e", "calo_dll_mu", "muon_dll_mu")

#: Hypotheses, and their prior probabilities.
PRIORS = {"e": 0.02, "mu": 0.03, "pi": 0.72, "k": 0.15, "p": 0.08}

#: Sums over the detectors.
COMBINED = tuple(f"dll_{hypothesis}" for hypothesis in PRIORS if hypothesis != "pi")

#: Probabilities of the hypotheses; their sum is 1.
PROBABILITIES = tuple(f"prob_{hypothesis}" for hypothesis in PRIORS)


def combined(parts: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """The columns `COMBINED` and `PROBABILITIES`, from the columns `PARTS`."""
    columns = {}
    for name in COMBINED:
        found = [np.asarray(parts[part], dtype=np.float64) for part in PARTS if part.endswith(f"_{name}")]
        columns[name] = sum(found[1:], start=found[0])
    scores = np.stack([np.log(prior) + columns.get(f"dll_{name}", 0.0 * found[0]) for name, prior in PRIORS.items()])
    scores = np.exp(scores - scores.max(axis=0))
    return columns | dict(zip(PROBABILITIES, scores / scores.sum(axis=0), strict=True))
