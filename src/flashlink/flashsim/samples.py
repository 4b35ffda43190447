"""Samples: the tables that go from step to step, as Parquet, and as ROOT for analysis. Units: MeV, mm.

Three kinds. A *generated* sample has one row a particle, a *reconstructed* one (from the flash simulation or from the
reference detector alike) one row a track, one of *photons* one row a cluster of the calorimeter. Rows are ordered by
event, then by particle.
"""

from __future__ import annotations

from flashlink.flashsim.likelihoods import COMBINED, PARTS, PROBABILITIES

#: Columns of a generated sample and their numpy types. Kept are the stable charged particles and photons that can
#: reach the spectrometer, the photons last, and the whole signal decay chain.
GENERATED: dict[str, str] = {
    "event": "int64",  # number of the event, unique in a production whatever the chunks
    "particle": "int32",  # number of the particle in its event, from 0
    "mother": "int32",  # number of the nearest kept ancestor, -1 for none
    "pdg": "int32",  # PDG Monte Carlo number
    "charge": "int8",  # in units of e
    "stable": "bool",  # final state: is simulated
    "signal": "bool",  # member of the forced decay chain
    "px": "float64",  # MeV
    "py": "float64",
    "pz": "float64",
    "energy": "float64",  # MeV
    "x": "float64",  # mm, production vertex
    "y": "float64",
    "z": "float64",
    "pv_x": "float64",  # mm, the primary vertex of the event
    "pv_y": "float64",
    "pv_z": "float64",
    "multiplicity": "int32",  # charged stable particles kept in the event: the occupancy that all its particles share
}

#: The parameters of a track at its point closest to the beam axis; the covariance is over these, in this order.
TRACK_PARAMETERS = ("x", "y", "tx", "ty", "qop")

#: Lower triangle of the covariance of `TRACK_PARAMETERS`, row by row: cov_x_x, cov_y_x, cov_y_y, cov_tx_x, …
COVARIANCE = tuple(
    f"cov_{row}_{column}" for index, row in enumerate(TRACK_PARAMETERS) for column in TRACK_PARAMETERS[: index + 1]
)

#: Lower triangle of the covariance of the primary vertex, mm^2.
VERTEX_COVARIANCE = tuple(f"pv_cov_{row}_{column}" for index, row in enumerate("xyz") for column in "xyz"[: index + 1])

#: Hits of a track: planes of the vertex detector, layers of the upstream tracker and of the stations.
HITS = ("vertex_hits", "upstream_hits", "station_hits")

#: Track categories, numbered as LHCb numbers its track types.
LONG, UPSTREAM, DOWNSTREAM = 3, 4, 5

#: Columns of a reconstructed sample.
RECONSTRUCTED: dict[str, str] = {
    "event": "int64",
    "track": "int32",  # number of the track in its event, from 0
    "particle": "int32",  # number of the generated particle that it is, -1 for a ghost
    "true_pdg": "int32",  # of that particle, 0 for a ghost
    "category": "int8",  # LONG, UPSTREAM or DOWNSTREAM
    "charge": "int8",  # as reconstructed
    "x": "float64",  # mm, at the point closest to the beam axis
    "y": "float64",
    "z": "float64",
    "tx": "float64",  # dx/dz
    "ty": "float64",
    "p": "float64",  # MeV
    "qop": "float64",  # charge/p, 1/MeV
    **dict.fromkeys(COVARIANCE, "float64"),
    "chi2": "float64",
    "ndf": "int32",
    "ghost_probability": "float64",
    **dict.fromkeys(HITS, "int8"),
    "is_muon": "bool",
    **dict.fromkeys(PARTS, "float64"),  # log-likelihood of the hypothesis minus that of the pion, of each detector
    **dict.fromkeys(COMBINED, "float64"),  # their sums
    **dict.fromkeys(PROBABILITIES, "float64"),  # of the hypotheses, from 0 to 1
    "tracks": "int32",  # reconstructed tracks in the event, the same for all of them
    "pv_x": "float64",  # mm, primary vertex as reconstructed
    "pv_y": "float64",
    "pv_z": "float64",
    **dict.fromkeys(VERTEX_COVARIANCE, "float64"),
}

#: Lower triangle of the covariance of a cluster's x, y and energy.
CLUSTER_COVARIANCE = ("cov_x_x", "cov_y_x", "cov_y_y", "cov_energy_x", "cov_energy_y", "cov_energy_energy")

#: Columns of a sample of photons: clusters of the electromagnetic calorimeter.
PHOTONS: dict[str, str] = {
    "event": "int64",
    "cluster": "int32",  # number of the cluster in its event, from 0
    "particle": "int32",  # number of the generated photon that gave it most of its energy
    "x": "float64",  # mm, where the photon met the face of the calorimeter
    "y": "float64",
    "energy": "float64",  # MeV
    **dict.fromkeys(CLUSTER_COVARIANCE, "float64"),
    "photon_dll": "float64",  # log-likelihood of a photon minus that of a hadron or a merged pair of photons
    "clusters": "int32",  # of photons in the event, the same for all of them
}
