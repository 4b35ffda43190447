"""Photons in the flash simulation: generated photons and a parameterization in, clusters of the calorimeter out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flashlink.errors import RequestError, wrong
from flashlink.flashsim.acceptance import PHOTON, places
from flashlink.flashsim.files import Columns, metadata
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Integers
from flashlink.flashsim.parameterizations.interface import PhotonModel
from flashlink.flashsim.parameterizations.photons import Clusters, PhotonCondition, Photons
from flashlink.flashsim.random import Draws
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, PHOTONS
from flashlink.flashsim.states import check_definite, symmetric
from flashlink.flashsim.units import check_errors, check_values

#: Columns of the clusters of the flash simulation.
SIMULATED_PHOTONS = PHOTONS | {"extrapolated": "bool"}

#: Fewer clusters than this cannot fill the bins.
LEAST_CLUSTERS = 1000


def photons_of(generated: Columns) -> Columns:
    """The photons of a generated sample that go to the calorimeter's side."""
    rows = np.flatnonzero(generated["stable"] & (generated["pdg"] == PHOTON) & (generated["pz"] > 0))
    return {name: column[rows] for name, column in generated.items()}


def calorimeter_z(path: Path) -> float:
    """Where the clusters of the reference detector's sample of photons are, mm.

    Raises:
        RequestError: The file is not such a sample.
    """
    z = metadata(path).get("calorimeter_z")
    if not isinstance(z, float):
        raise wrong(str(path), "a sample", "one of photons by `flashlink reference --photons`")
    return z


def parameterize_photons(generated: Columns, clusters: Columns, z: float) -> Photons:
    """Derive the parameterization of photons; events without a cluster count too.

    Args:
        generated: Columns of a generated sample.
        clusters: The clusters that a detailed simulation made of all its events.
        z: Where the clusters' places are, mm.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    condition, rows, made = matched_clusters(generated, clusters, z)
    return Photons.fit(z, condition, rows, made)


def matched_clusters(generated: Columns, clusters: Columns, z: float) -> tuple[PhotonCondition, Integers, Clusters]:
    """All photons, which of them have a cluster, and the clusters, row by row with these.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    photons = photons_of(generated)
    rows = rows_of(clusters["event"], clusters["particle"], photons["event"], photons["particle"])
    lost = np.flatnonzero(rows < 0)
    if len(lost):
        event, particle = clusters["event"][lost[0]], clusters["particle"][lost[0]]
        raise RequestError(
            f"photon sample: event {event}, particle {particle} is no photon of the generated sample; "
            "give the generated files that the photons were made from"
        )
    if len(rows) < LEAST_CLUSTERS:
        raise RequestError(f"photon sample: {len(rows)} clusters are not the {LEAST_CLUSTERS} that are needed at least")
    condition = PhotonCondition.of(photons, z)
    check_clusters("photon sample", clusters, condition[rows])
    return condition, rows, residuals(clusters, condition[rows])


def check_clusters(place: str, clusters: Columns, condition: PhotonCondition) -> None:
    """Check clusters against their photons, row by row.

    Raises:
        RequestError: A column, or one of the covariance, is in another unit than the photons are.
    """
    for name, true in (("x", condition.x), ("y", condition.y), ("energy", 10**condition.log_e)):
        check_values(place, clusters, name, true)
        check_errors(place, clusters, f"cov_{name}_{name}", clusters[name] - true)
    check_definite(place, clusters, CLUSTER_COVARIANCE, 3)


def residuals(clusters: Columns, condition: PhotonCondition) -> Clusters:
    """Residuals, covariances and likelihoods of clusters, row by row with their photons; energies in true energies."""
    energy = 10**condition.log_e
    units = np.stack([np.ones_like(energy), np.ones_like(energy), energy], axis=1)
    residual = np.stack(
        [clusters["x"] - condition.x, clusters["y"] - condition.y, clusters["energy"] / energy - 1], axis=1
    )
    covariance = symmetric(clusters, CLUSTER_COVARIANCE, 3) / units[:, :, None] / units[:, None, :]
    return Clusters(residual, covariance, np.asarray(clusters["photon_dll"], dtype=np.float64))


def simulate_photons(generated: Columns, learned: PhotonModel, seed: int) -> Columns:
    """Simulate the photons of a generated sample.

    Args:
        generated: Its columns, ordered by event.
        learned: The parameterization.
        seed: Seed of the production.

    Returns:
        The columns `SIMULATED_PHOTONS`, ordered by event, then by particle.
    """
    photons = photons_of(generated)
    draws = Draws(seed, photons["event"], photons["particle"])
    condition = PhotonCondition.of(photons, learned.z)
    rows, drawn = learned.sample(condition, draws)
    condition, event = condition[rows], photons["event"][rows]
    energy = 10**condition.log_e
    units = np.stack([np.ones_like(energy), np.ones_like(energy), energy], axis=1)
    covariance = (drawn.covariance * units[:, :, None] * units[:, None, :])[:, *np.tril_indices(3)]
    _, size = np.unique(event, return_counts=True)
    columns = {
        "event": event,
        "cluster": places(size),
        "particle": photons["particle"][rows],
        "x": condition.x + drawn.residual[:, 0],
        "y": condition.y + drawn.residual[:, 1],
        # A photon that lost all of its energy would have no cluster.
        "energy": energy * np.maximum(1 + drawn.residual[:, 2], 0.01),
        **dict(zip(CLUSTER_COVARIANCE, covariance.T, strict=True)),
        "photon_dll": drawn.dll,
        "clusters": np.repeat(size, size),
        "extrapolated": ~learned.in_range(condition),
    }
    return {name: columns[name].astype(dtype) for name, dtype in SIMULATED_PHOTONS.items()}
