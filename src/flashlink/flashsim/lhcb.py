"""Names of LHCb's tuples (DaVinci's DecayTreeTuple and FunTuple) for the columns of samples.

Only columns that mean the same have another name; units are MeV and mm in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Our column to LHCb's branch, in every sample.
OF_EVENT = {"event": "eventNumber", "run": "runNumber"}

#: In a generated sample.
GENERATED_NAMES = OF_EVENT | {
    "pdg": "TRUEID",
    "px": "TRUEP_X",
    "py": "TRUEP_Y",
    "pz": "TRUEP_Z",
    "energy": "TRUEP_E",
    "x": "TRUEORIGINVERTEX_X",
    "y": "TRUEORIGINVERTEX_Y",
    "z": "TRUEORIGINVERTEX_Z",
}

#: In a reconstructed sample.
NAMES = OF_EVENT | {
    "true_pdg": "TRUEID",
    "category": "TRACK_Type",
    "charge": "Q",
    "x": "TRACK_FirstState_X",
    "y": "TRACK_FirstState_Y",
    "z": "TRACK_FirstState_Z",
    "tx": "TRACK_FirstState_TX",
    "ty": "TRACK_FirstState_TY",
    "qop": "TRACK_FirstState_QOverP",
    "p": "P",
    "chi2": "TRACK_CHI2",
    "ndf": "TRACK_nDoF",
    "ghost_probability": "TRACK_GhostProb",
    "vertex_hits": "TRACK_nVeloHits",
    "upstream_hits": "TRACK_nTTHits",
    "station_hits": "TRACK_nTHits",
    "is_muon": "isMuon",
    "rich_dll_e": "RichDLLe",
    "rich_dll_mu": "RichDLLmu",
    "rich_dll_k": "RichDLLk",
    "rich_dll_p": "RichDLLp",
    "muon_dll_mu": "MuonDLLmu",
    "calo_dll_e": "EcalPIDe",
    "calo_dll_mu": "EcalPIDmu",
    "dll_e": "PIDe",
    "dll_mu": "PIDmu",
    "dll_k": "PIDK",
    "dll_p": "PIDp",
    "prob_e": "ProbNNe",
    "prob_mu": "ProbNNmu",
    "prob_pi": "ProbNNpi",
    "prob_k": "ProbNNk",
    "prob_p": "ProbNNp",
    "tracks": "nTracks",
    "pv_x": "OWNPV_X",
    "pv_y": "OWNPV_Y",
    "pv_z": "OWNPV_Z",
}


def names_of(columns: Collection[str]) -> Mapping[str, str]:
    """The names for a sample with these columns; places and energies of clusters have none in LHCb's tuples."""
    if "cluster" in columns:
        return OF_EVENT
    return NAMES if "track" in columns else GENERATED_NAMES
