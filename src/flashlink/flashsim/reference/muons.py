"""The muon chambers: who comes through the absorbers, and whose hits lie near the track."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import MUON, PION
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.candidates import Candidates
from flashlink.flashsim.reference.decay import LIVES, MASSES
from flashlink.flashsim.reference.geometry import Muons
from flashlink.flashsim.samples import UPSTREAM

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Mean fraction of the momentum that the muon of a pion's decay in flight keeps: (1 + (m_mu/m_pi)^2) / 2.
_KEPT = 0.79


def muon_likelihoods(candidates: Candidates, muons: Muons, stream: Stream) -> tuple[Floats, Flags]:
    """Log-likelihoods of the five hypotheses, shape (5, n), and whether the hits make it a muon.

    A hadron has hits by showers that come through, by decays in flight and by hits of others; a muon by its range. The
    squared distance of a hit from the track, in units of the scattering, is exponential for one's own hit and flat
    within the window for another's.
    """
    likelihoods = np.zeros((len(MASSES), len(candidates.event)))
    required = np.zeros((4, len(candidates.event)), dtype=bool)
    real = _real_hits(candidates, muons, stream)
    chance = Stream(stream.seed, f"{stream.step}/others").uniform(candidates.event, candidates.key, 12)
    other = _other_probability(candidates.measured_p, candidates.multiplicity, muons)
    decayed = _decay_probability(candidates.measured_p, muons)
    for number, least in enumerate(muons.least_momentum):
        hit = real[number] | (chance[number] < other)
        distance = np.where(
            real[number],
            np.minimum(-2 * np.log(chance[4 + number]), muons.window),
            muons.window * chance[8 + number],
        )
        reach = np.where(candidates.measured_p > least, muons.efficiency, 0.0)
        hadron = _punch_probability(candidates.measured_p, number, muons) + decayed * reach
        muon_term = _log_probability(hit, distance, reach, other, muons)
        hadron_term = _log_probability(hit, distance, hadron, other, muons)
        likelihoods += hadron_term
        likelihoods[MUON] += muon_term - hadron_term
        required[number] = hit
    inside = candidates.category != UPSTREAM
    return np.where(inside, likelihoods, 0.0), inside & _is_muon(candidates.measured_p, required, muons)


def _real_hits(candidates: Candidates, muons: Muons, stream: Stream) -> Flags:
    """Hits of the particle itself or of its shower, shape (4, n)."""
    chance = stream.uniform(candidates.event, candidates.key, 5)
    smear = Stream(stream.seed, f"{stream.step}/range").normal(candidates.event, candidates.key, 1)[0]
    alive = np.isinf(candidates.end_z) & ~candidates.ghost
    in_flight = (candidates.decay_z < muons.absorber) & (candidates.species != MUON)
    muon = (candidates.later == MUON) | in_flight
    p = candidates.p * np.where(in_flight, _KEPT, 1.0) * np.exp(muons.straggling * smear)
    hits = np.empty((4, len(p)), dtype=bool)
    for number, least in enumerate(muons.least_momentum):
        # one number for all chambers: a shower that reaches the last one has reached the first
        shower = chance[4] < _punch_probability(candidates.p, number, muons)
        hits[number] = alive & np.where(muon, p > least, shower) & (chance[number] < muons.efficiency)
    return hits


def _punch_probability(p: Floats, number: int, muons: Muons) -> Floats:
    """That a hadron's shower leaves a hit behind `depth` interaction lengths; its maximum deepens with ln p."""
    depth = muons.depth[number] - 1.0 - 0.6 * np.log(p / 1000)
    return np.asarray(np.exp(-np.maximum(depth, 0) / muons.attenuation))


def _other_probability(p: Floats, multiplicity: Floats, muons: Muons) -> Floats:
    """That a hit of another particle lies in the window, which narrows as the scattering, with 1/p."""
    return np.asarray(1 - np.exp(-muons.random * multiplicity * np.minimum(1e4 / p, 4)))


def _decay_probability(p: Floats, muons: Muons) -> Floats:
    """That a pion decays in flight before the absorber."""
    return np.asarray(1 - np.exp(-muons.absorber * MASSES[PION] / (LIVES[PION] * p)))


def _log_probability(hit: Flags, distance: Floats, own: Floats, other: Floats, muons: Muons) -> Floats:
    """Of a hit at a distance, or of none, if the particle itself has a hit with probability `own`."""
    density = own * 0.5 * np.exp(-distance / 2) + (1 - own) * other / muons.window
    return np.log(np.where(hit, np.maximum(density, 1e-6), np.maximum((1 - own) * (1 - other), 1e-6)))


def _is_muon(p: Floats, hits: Flags, muons: Muons) -> Flags:
    """LHCb's requirement of hits by momentum (JINST 8 (2013) P10020)."""
    two = hits[0] & hits[1]
    three = two & (hits[2] | hits[3])
    wanted = np.select(
        [p < muons.least_momentum[0], p < muons.momenta[0], p < muons.momenta[1]], [False, two, three], hits.all(axis=0)
    )
    return np.asarray(wanted, dtype=np.bool_)
