"""Identification: what Cherenkov detectors, calorimeter and muon chambers say of each track, as likelihoods.

Each detector gives the logarithm of the likelihood of what it saw under the hypotheses electron, muon, pion, kaon and
proton. What is kept are the differences to the pion, of each detector and in sum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns
from flashlink.flashsim.likelihoods import PARTS, combined
from flashlink.flashsim.parameterizations.condition import ELECTRON, KAON, MUON, PION, PROTON
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.calorimeter import calorimeter_likelihoods
from flashlink.flashsim.reference.candidates import Candidates
from flashlink.flashsim.reference.cherenkov import cherenkov_likelihoods
from flashlink.flashsim.reference.decay import MASSES
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
        species: Of each particle at its origin.
        passage: What became of them.
        tracks: The tracks.
        geometry: The detector.
        seed: Seed of the production.

    Returns:
        The columns ``is_muon`` and those of `flashlink.flashsim.likelihoods`.
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
    rich = np.zeros((len(MASSES), len(rows)))
    for radiator in geometry.radiator:
        rich += cherenkov_likelihoods(candidates, radiator, Stream(seed, f"reference/{radiator.name}"))
    calorimeter = calorimeter_likelihoods(candidates, geometry.calorimeter, Stream(seed, "reference/calorimeter"))
    chambers, is_muon = muon_likelihoods(candidates, geometry.muons, Stream(seed, "reference/muons"))
    hypotheses = {"e": ELECTRON, "mu": MUON, "k": KAON, "p": PROTON}
    columns: Columns = {"is_muon": is_muon}
    for part in PARTS:
        detector, _, hypothesis = part.split("_")
        likelihoods = {"rich": rich, "calo": calorimeter, "muon": chambers}[detector]
        columns[part] = likelihoods[hypotheses[hypothesis]] - likelihoods[PION]
    return columns | combined(columns)
