"""Identification: what Cherenkov detectors, calorimeter and muon chambers say of each track, as likelihoods.

Each detector gives the logarithm of the likelihood of what it saw under the hypotheses electron, muon, pion, kaon and
proton; the differences to the pion are summed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.calorimeter import calorimeter_likelihoods
from flashlink.flashsim.reference.candidates import Candidates
from flashlink.flashsim.reference.cherenkov import cherenkov_likelihoods
from flashlink.flashsim.reference.decay import ELECTRON, KAON, MUON, PION, PROTON
from flashlink.flashsim.reference.geometry import Geometry
from flashlink.flashsim.reference.muons import muon_likelihoods
from flashlink.flashsim.reference.passage import Passage
from flashlink.flashsim.reference.tracks import Tracks

Integers = npt.NDArray[np.int64]


#: Keys of ghosts begin here; no event has so many particles.
_GHOST_KEYS = 1 << 24


def identify(
    particles: Columns, species: Integers, passage: Passage, tracks: Tracks, geometry: Geometry, seed: int
) -> Columns:
    """Identify tracks.

    Args:
        particles: Columns of a generated sample.
        species: Class of each particle at its origin.
        passage: What became of them.
        tracks: The tracks.
        geometry: The detector.
        seed: Seed of the production.

    Returns:
        The columns ``is_muon``, ``dll_e``, ``dll_mu``, ``dll_k`` and ``dll_p``.
    """
    rows = tracks.rows
    candidates = Candidates(
        event=particles["event"][rows],
        key=particles["particle"][rows] + _GHOST_KEYS * tracks.ghost,
        species=species[rows],
        later=passage.species[rows],
        p=np.sqrt(particles["px"] ** 2 + particles["py"] ** 2 + particles["pz"] ** 2)[rows],
        measured_p=1 / np.abs(tracks.fit.state[4]),
        category=tracks.category,
        ghost=tracks.ghost,
        decay_z=passage.decay_z[rows],
        end_z=passage.end_z[rows],
        multiplicity=particles["multiplicity"][rows].astype(np.float64),
    )
    total = np.zeros((5, len(rows)))
    for radiator in geometry.radiator:
        total += cherenkov_likelihoods(candidates, radiator, Stream(seed, f"reference/{radiator.name}"))
    total += calorimeter_likelihoods(candidates, geometry.calorimeter, Stream(seed, "reference/calorimeter"))
    chambers, is_muon = muon_likelihoods(candidates, geometry.muons, Stream(seed, "reference/muons"))
    total += chambers
    total -= total[PION].copy()
    return {
        "is_muon": is_muon,
        "dll_e": total[ELECTRON],
        "dll_mu": total[MUON],
        "dll_k": total[KAON],
        "dll_p": total[PROTON],
    }
