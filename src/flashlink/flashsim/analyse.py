"""The analysis: J/psi -> mu+ mu- and B+ -> J/psi K+ from reconstructed, identified tracks.

All combinations of all events are made at once. The mass of a B+ comes twice: of the three tracks as they are, and with
the muons moved within their errors to the mass of the J/psi, which removes most of their momentum resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.composite import PARAMETERS, Composite, composite
from flashlink.flashsim.files import Columns
from flashlink.flashsim.kinematics import (
    combined,
    constrain,
    impact_chi2,
    mass_error,
    pdg_mass,
    vertex,
)
from flashlink.flashsim.matching import pairs, rows_of
from flashlink.flashsim.oversampling import original
from flashlink.flashsim.parameterizations.condition import Integers
from flashlink.flashsim.samples import COVARIANCE, GENERATED, LONG, RECONSTRUCTED, TRACK_PARAMETERS, VERTEX_COVARIANCE
from flashlink.flashsim.states import covariances, states, vertex_covariances

JPSI, B_PLUS, MUON, KAON = 443, 521, 13, 321

#: Columns that the analysis reads of a reconstructed sample.
READ = {
    name: RECONSTRUCTED[name]
    for name in (
        "event", "track", "particle", "category", "charge", "z", *TRACK_PARAMETERS, *COVARIANCE,
        "ghost_probability", "is_muon", "dll_mu", "dll_k", "pv_x", "pv_y", "pv_z",
        *VERTEX_COVARIANCE,
    )
}  # fmt: skip

#: Columns that tell of a generated sample whether candidates are true.
TRUTH = {name: GENERATED[name] for name in ("event", "particle", "mother", "pdg")}

#: Lower triangle of the covariance of a candidate's `flashlink.flashsim.composite.PARAMETERS`, in mm and MeV.
CANDIDATE_COVARIANCE = tuple(
    f"cov_{row}_{column}" for index, row in enumerate(PARAMETERS) for column in PARAMETERS[: index + 1]
)

#: Columns of a candidate and their types. Masses in MeV, lengths in mm, times in ps.
CANDIDATES: dict[str, str] = {
    "event": "int64",
    "pdg": "int32",  # what it is a candidate of: 443 for a J/psi, 521 for a B+, -521 for a B-
    "mass": "float64",
    "mass_error": "float64",  # from the covariances of the tracks
    "constrained_mass": "float64",  # with the muons at the mass of the J/psi; of a J/psi, its mass
    "constrained_mass_error": "float64",
    "px": "float64",  # MeV, at the vertex
    "py": "float64",
    "pz": "float64",
    "energy": "float64",
    "p": "float64",
    "pt": "float64",
    "vertex_x": "float64",
    "vertex_y": "float64",
    "vertex_z": "float64",
    "vertex_chi2": "float64",  # of 1 degree of freedom for a J/psi, of 3 for a B
    **dict.fromkeys(CANDIDATE_COVARIANCE, "float64"),
    "decay_time": "float64",  # from the primary vertex
    "decay_time_error": "float64",  # from the covariances of both vertices and of the momentum
    "kaon_impact_chi2": "float64",  # with respect to the primary vertex; 0 for a J/psi
    "mu_plus": "int32",  # numbers of the tracks in the event
    "mu_minus": "int32",
    "kaon": "int32",  # -1 for a J/psi
    "mu_plus_particle": "int32",  # numbers of the generated particles that they are, -1 for a ghost
    "mu_minus_particle": "int32",
    "kaon_particle": "int32",
    "true": "int8",  # 1 if the tracks are those of such a decay, 0 if not, -1 if the generated sample was not given
}


@dataclass(frozen=True)
class Selection:
    """What tracks and candidates have to be. Masses and momenta in MeV.

    Attributes:
        ghost_probability: Of every track, at most.
        muon_pt: Of a muon, at least; it is long and has is_muon.
        muon_dll: dll_mu of a muon, at least.
        jpsi_window: Distance of the dimuon mass from the J/psi, at most; for a B+, of `jpsi_window_in_b`.
        jpsi_window_in_b: The same, of the J/psi of a B+.
        jpsi_vertex_chi2: Of the dimuon vertex, at most.
        kaon_pt: Of a kaon, at least; it is long.
        kaon_p: Momentum of a kaon, at least: below it the RICH does not tell kaons.
        kaon_dll: dll_k of a kaon, at least.
        kaon_impact_chi2: Of a kaon with respect to the primary vertex, at least.
        b_window: Distance of the mass, J/psi constrained, from the B+, at most.
        b_vertex_chi2: Of the vertex of all three tracks, at most.
        decay_time: Of a B+ in ps, at least.
    """

    ghost_probability: float = 0.5
    muon_pt: float = 500
    muon_dll: float = -3
    jpsi_window: float = 150
    jpsi_window_in_b: float = 80
    jpsi_vertex_chi2: float = 16
    kaon_pt: float = 500
    kaon_p: float = 3000
    kaon_dll: float = 0
    kaon_impact_chi2: float = 9
    b_window: float = 250
    b_vertex_chi2: float = 25
    decay_time: float = 0.2


@dataclass(frozen=True)
class _Tracks:
    """A selection of the rows of a sample, with their states and covariances at hand."""

    columns: Columns
    states: npt.NDArray[np.float64]
    covariances: npt.NDArray[np.float64]

    def __getitem__(self, rows: npt.NDArray[np.bool_] | Integers) -> _Tracks:
        columns = {name: column[rows] for name, column in self.columns.items()}
        return _Tracks(columns, self.states[rows], self.covariances[rows])

    def __len__(self) -> int:
        return len(self.states)


def analyse(tracks: Columns, selection: Selection | None = None, generated: Columns | None = None) -> Columns:
    """Make candidates.

    Args:
        tracks: The columns `READ` of a reconstructed sample, ordered by event.
        selection: What to require.
        generated: The columns `TRUTH` of the generated sample, to tell true candidates; without it ``true`` is -1.

    Returns:
        The columns `CANDIDATES`, ordered by event; J/psi before B+.
    """
    selection = selection or Selection()
    good = tracks["ghost_probability"] < selection.ghost_probability
    rows = np.flatnonzero(good & (tracks["category"] == LONG))
    some = {name: tracks[name][rows] for name in READ}
    long = _Tracks(some, states(some), covariances(some))
    plus, minus = _dimuons(long, selection)
    jpsi = _candidates(JPSI, [plus, minus])
    kaons = _kaons(long, selection)
    window = np.flatnonzero(np.abs(jpsi["mass"] - pdg_mass(JPSI)) < selection.jpsi_window_in_b)
    left, right = pairs(plus.columns["event"][window], kaons.columns["event"])
    b = _candidates(B_PLUS, [plus[window[left]], minus[window[left]], kaons[right]])
    near = np.abs(b["constrained_mass"] - pdg_mass(B_PLUS)) < selection.b_window
    late = b["decay_time"] > selection.decay_time
    kept = np.flatnonzero(near & late & (b["vertex_chi2"] < selection.b_vertex_chi2))
    candidates = {name: np.concatenate([jpsi[name], b[name][kept]]) for name in jpsi}
    order = np.lexsort((np.abs(candidates["pdg"]), candidates["event"]))
    candidates = {name: column[order] for name, column in candidates.items()}
    if generated is not None:
        candidates["true"] = is_true(candidates, generated)
    return candidates


def is_true(candidates: Columns, generated: Columns) -> npt.NDArray[np.int8]:
    """Whether the tracks of each candidate are those of one decay chain of its kind in the generated sample."""
    event = original(candidates["event"])
    rows = {
        name: rows_of(event, candidates[f"{name}_particle"], generated["event"], generated["particle"])
        for name in ("mu_plus", "mu_minus", "kaon")
    }

    def mother(of: Integers) -> Integers:
        number = np.where(of >= 0, generated["mother"][of], -1)
        return rows_of(event, number, generated["event"], generated["particle"])

    def pdg(of: Integers) -> Integers:
        return np.where(of >= 0, generated["pdg"][of], 0)

    jpsi = mother(rows["mu_plus"])
    true = (jpsi >= 0) & (jpsi == mother(rows["mu_minus"])) & (pdg(jpsi) == JPSI)
    true &= (pdg(rows["mu_plus"]) == -MUON) & (pdg(rows["mu_minus"]) == MUON)
    b = mother(jpsi)
    of_b = (b >= 0) & (b == mother(rows["kaon"])) & (pdg(b) == candidates["pdg"])
    of_b &= np.abs(pdg(rows["kaon"])) == KAON
    return np.asarray(np.where(candidates["pdg"] == JPSI, true, true & of_b), dtype=np.int8)


def _dimuons(long: _Tracks, selection: Selection) -> tuple[_Tracks, _Tracks]:
    """The positive and negative muons of all dimuons, row by row."""
    columns = long.columns
    muons = long[
        columns["is_muon"] & (columns["dll_mu"] > selection.muon_dll) & (_transverse(long.states) > selection.muon_pt)
    ]
    plus, minus = muons[muons.columns["charge"] > 0], muons[muons.columns["charge"] < 0]
    left, right = pairs(plus.columns["event"], minus.columns["event"])
    plus, minus = plus[left], minus[right]
    both = _stacked([plus, minus])
    near = np.abs(combined(both.states, [pdg_mass(MUON)] * 2).mass - pdg_mass(JPSI)) < selection.jpsi_window
    near &= vertex(both.states, both.columns["z"], both.covariances).chi2 < selection.jpsi_vertex_chi2
    return plus[near], minus[near]


def _kaons(long: _Tracks, selection: Selection) -> _Tracks:
    columns = long.columns
    momentum = 1 / np.abs(long.states[:, 4])
    kaons = long[
        (columns["dll_k"] > selection.kaon_dll)
        & (_transverse(long.states) > selection.kaon_pt)
        & (momentum > selection.kaon_p)
    ]
    return kaons[_impact_chi2(kaons) > selection.kaon_impact_chi2]


def _candidates(pdg: int, daughters: list[_Tracks]) -> Columns:
    """The columns `CANDIDATES` of combinations of two muons, and a kaon for a B+."""
    together = _stacked(daughters)
    # A track cannot be a muon and the kaon at once.
    once = np.ones(len(together), dtype=bool)
    for muon in daughters[:2] if len(daughters) == 3 else ():
        once &= muon.columns["track"] != daughters[2].columns["track"]
    daughters, together = [daughter[once] for daughter in daughters], together[once]
    masses = [pdg_mass(MUON), pdg_mass(MUON), pdg_mass(KAON)][: len(daughters)]
    total = combined(together.states, masses)
    fitted = composite(together.states, together.columns["z"], together.covariances, masses)
    error = mass_error(total.gradient, together.covariances)
    columns = {
        "event": daughters[0].columns["event"],
        "pdg": np.full(len(together), pdg),
        "mass": total.mass,
        "mass_error": error,
        "constrained_mass": total.mass,
        "constrained_mass_error": error,
        **_place(fitted, daughters[0].columns),
        "kaon_impact_chi2": np.zeros(len(together)),
        "kaon": np.full(len(together), -1),
        "kaon_particle": np.full(len(together), -1),
        "true": np.full(len(together), -1),
    }
    for name, daughter in zip(("mu_plus", "mu_minus", "kaon"), daughters, strict=False):
        columns |= {name: daughter.columns["track"], f"{name}_particle": daughter.columns["particle"]}
    if len(daughters) == 3:
        columns |= _constrained(together, masses)
        columns["pdg"] = pdg * daughters[2].columns["charge"].astype(np.int64)
        columns["kaon_impact_chi2"] = _impact_chi2(daughters[2])
    return columns


def _place(fitted: Composite, columns: Columns) -> Columns:
    """Momentum, vertex, their covariance and decay time of candidates."""
    origin = np.stack([columns[name] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    time, error = fitted.decay_time(origin, vertex_covariances(columns))
    triangle = fitted.covariance[:, *np.tril_indices(len(PARAMETERS))]
    values = np.concatenate([fitted.position, fitted.momentum], axis=1)
    return {
        **dict(zip(PARAMETERS, values.T, strict=True)),
        "p": np.sqrt(np.square(fitted.momentum[:, :3]).sum(axis=1)),
        "pt": np.hypot(fitted.momentum[:, 0], fitted.momentum[:, 1]),
        "vertex_chi2": fitted.chi2,
        **dict(zip(CANDIDATE_COVARIANCE, triangle.T, strict=True)),
        "decay_time": time,
        "decay_time_error": error,
    }


def _constrained(together: _Tracks, masses: list[float]) -> Columns:
    """Mass and error of B candidates whose muons are moved to the mass of the J/psi."""
    muons, joint = constrain(together.states[:, :2], together.covariances[:, :2], masses[:2], pdg_mass(JPSI))
    total = combined(np.concatenate([muons, together.states[:, 2:]], axis=1), masses)
    of_muons = total.gradient[:, :2].reshape(-1, 10)
    variance = np.einsum("ni,nij,nj->n", of_muons, joint, of_muons)
    variance += mass_error(total.gradient[:, 2:], together.covariances[:, 2:]) ** 2
    return {"constrained_mass": total.mass, "constrained_mass_error": np.sqrt(variance)}


def _stacked(daughters: list[_Tracks]) -> _Tracks:
    """Combinations as arrays of shape (n, k, …); of the columns only z."""
    return _Tracks(
        {"z": np.stack([daughter.columns["z"] for daughter in daughters], axis=1)},
        np.stack([daughter.states for daughter in daughters], axis=1),
        np.stack([daughter.covariances for daughter in daughters], axis=1),
    )


def _transverse(state: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Transverse momentum in MeV of states, shape (tracks,)."""
    slope2 = state[:, 2] ** 2 + state[:, 3] ** 2
    return np.asarray(np.sqrt(slope2 / (1 + slope2)) / np.abs(state[:, 4]))


def _impact_chi2(tracks: _Tracks) -> npt.NDArray[np.float64]:
    point = np.stack([tracks.columns[name] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    return impact_chi2(tracks.states, tracks.columns["z"], tracks.covariances, point)
