"""The electromagnetic calorimeter: the energy of a track's cluster over its momentum tells electrons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import ELECTRON, KAON, MUON, PION, PROTON
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.candidates import Candidates
from flashlink.flashsim.reference.decay import MASSES
from flashlink.flashsim.reference.geometry import Calorimeter
from flashlink.flashsim.samples import UPSTREAM

Floats = npt.NDArray[np.float64]

#: Largest ratio of energy to momentum that a hadronic shower gives.
_LARGEST_RATIO = 1.1

#: No likelihood is taken to be smaller: densities are not known better.
_FLOOR = 1e-3


def calorimeter_likelihoods(candidates: Candidates, calorimeter: Calorimeter, stream: Stream) -> Floats:
    """Log-likelihoods of the five hypotheses, shape (5, n); 0 for tracks that do not reach the calorimeter."""
    ratio = _measured_ratio(candidates, calorimeter, stream)
    p = candidates.measured_p
    hadron = np.log(_hadron_density(ratio, p, calorimeter) + _FLOOR)
    likelihoods = np.empty((len(MASSES), len(p)))
    likelihoods[[PION, KAON, PROTON]] = hadron
    likelihoods[ELECTRON] = np.log(_electron_density(ratio, p, calorimeter) + _FLOOR)
    likelihoods[MUON] = np.log(_through_density(ratio, p, calorimeter) + _FLOOR)
    reaches = (candidates.category != UPSTREAM) & np.isinf(candidates.end_z)
    return np.where(reaches, likelihoods, 0.0)


def _measured_ratio(candidates: Candidates, calorimeter: Calorimeter, stream: Stream) -> Floats:
    """Energy over momentum, from the same densities that the likelihoods have."""
    chance = stream.uniform(candidates.event, candidates.key, 3)
    smear = Stream(stream.seed, f"{stream.step}/energy").normal(candidates.event, candidates.key, 1)[0]
    p = candidates.p
    through = (calorimeter.mip + calorimeter.mip_width * smear) / p
    shower = _LARGEST_RATIO * (1 - np.sqrt(1 - chance[1]))
    electron = np.where(chance[0] < calorimeter.radiated, chance[1], 1 + calorimeter.resolution(p) * smear)
    hadron = np.where(chance[0] < calorimeter.through, through, shower)
    ratio = np.select([candidates.later == ELECTRON, candidates.later == MUON], [electron, through], hadron)
    neighbours = -np.log(chance[2]) * calorimeter.neighbours * candidates.multiplicity
    return np.asarray((np.maximum(ratio, 0) * p + neighbours) / candidates.measured_p)


def _electron_density(ratio: Floats, p: Floats, calorimeter: Calorimeter) -> Floats:
    peak = _normal(ratio, np.ones_like(ratio), calorimeter.resolution(p))
    return calorimeter.radiated * ((ratio > 0) & (ratio < 1)) + (1 - calorimeter.radiated) * peak


def _hadron_density(ratio: Floats, p: Floats, calorimeter: Calorimeter) -> Floats:
    shower = 2 / _LARGEST_RATIO * np.maximum(1 - ratio / _LARGEST_RATIO, 0)
    return calorimeter.through * _through_density(ratio, p, calorimeter) + (1 - calorimeter.through) * shower


def _through_density(ratio: Floats, p: Floats, calorimeter: Calorimeter) -> Floats:
    """Of particles that leave the energy of a minimum-ionising one, with that of the neighbours in the width."""
    return _normal(ratio, calorimeter.mip / p, 1.5 * calorimeter.mip_width / p)


def _normal(value: Floats, mean: Floats, width: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * np.square((value - mean) / width)) / (np.sqrt(2 * np.pi) * width))
