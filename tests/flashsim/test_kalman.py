"""The Kalman filter against one least-squares fit of all hits with the full matrix of their errors."""

from dataclasses import replace

import numpy as np
import pytest

from flashlink.flashsim.parameterizations.condition import PION
from flashlink.flashsim.reference import material
from flashlink.flashsim.reference.decay import MASSES
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.kalman import Hits, fit
from flashlink.flashsim.reference.propagate import cylinder_distance, straight

#: Two pions of 50 GeV from within the foil, at z = 0, that cross no surface near its edge, where the filter could take
#: it for missed. They lose a thousandth of their momentum, so scattering is as at the start.
TRUE = np.array([[0.05, -0.02], [-0.02, 0.03], [0.12, -0.05], [0.03, -0.12], [2e-5, -2e-5]])


@pytest.fixture(scope="module")
def geometry():
    detector = default_geometry()
    return replace(detector, field=replace(detector.field, peak=0.0))


@pytest.fixture(scope="module")
def hits(geometry):
    """One hit in ten is missing; errors and thicknesses differ from plane to plane."""
    random = np.random.default_rng(21)
    errors = geometry.resolutions[:, None] * random.uniform(0.5, 2, (geometry.coordinates, 2))
    measured = np.full(errors.shape, np.nan)
    for surface in geometry.surfaces:
        x, y = TRUE[:2] + TRUE[2:4] * surface.z
        here = surface.crossed(x, y) & (surface.z > 0) & (random.uniform(size=2) < 0.9)
        for row, (cosine, sine) in enumerate(surface.coordinates, surface.first):
            measured[row] = np.where(here, cosine * x + sine * y + errors[row] * random.normal(size=2), np.nan)
    return Hits(measured, errors, random.uniform(0.5, 1.5, (len(geometry.surfaces) + 1, 2)))


def scatterers(geometry, hits, track):
    """Place and covariance of (tx, ty) of all that scatters behind the beam, one by one."""
    state = TRUE[:, [track]]
    measured = np.isfinite(hits.measured[:, track])
    first = min(surface.z for surface in geometry.surfaces if measured[surface.first : surface.last].any())
    matter = [(cylinder_distance(state, geometry.foil.radius)[0], geometry.foil.radiation * hits.thickness[-1, track])]
    matter += [
        (surface.z, surface.detector.radiation * hits.thickness[surface.number, track])
        for surface in geometry.surfaces
        if surface.z >= first and surface.crossed(*(state[:2] + state[2:4] * surface.z))
    ]
    for z, radiation in matter:
        angle = material.scattering_angle(1 / np.abs(state[4]), MASSES[PION], radiation * material.path(state))
        xx, yx, yy = material.scattering_covariance(state, angle)
        yield z, np.array([[xx[0], yx[0]], [yx[0], yy[0]]])


@pytest.mark.parametrize("track", [0, 1])
def test_the_filter_is_the_least_squares_fit_of_all_hits(geometry, hits, track):
    end = max(surface.z for surface in geometry.surfaces if surface.coordinates)
    found = fit(hits, straight(TRUE, end), end, geometry)
    rows, z, axes = [], [], []
    for surface in geometry.surfaces:
        for row, axis in enumerate(surface.coordinates, surface.first):
            if np.isfinite(hits.measured[row, track]):
                rows, z, axes = [*rows, row], [*z, surface.z], [*axes, axis]
    z, axes = np.array(z), np.array(axes)
    variance = np.diag(hits.errors[rows, track] ** 2)
    for place, turned in scatterers(geometry, hits, track):
        lever = np.maximum(z - place, 0)[:, None] * axes
        variance += lever @ turned @ lever.T
    weight = np.linalg.inv(variance)
    design = np.concatenate([axes, axes * (z - found.z[track])[:, None]], axis=1)
    covariance = np.linalg.inv(design.T @ weight @ design)
    state = covariance @ design.T @ weight @ hits.measured[rows, track]
    residual = hits.measured[rows, track] - design @ state
    sigma = np.sqrt(np.diag(covariance))
    assert found.ndf[track] == len(rows) - 5
    assert found.chi2[track] == pytest.approx(residual @ weight @ residual, rel=1e-3)
    assert (found.state[:4, track] - state) / sigma == pytest.approx(np.zeros(4), abs=1e-3)
    scaled = found.covariance[:4, :4, track] / sigma[:, None] / sigma
    assert scaled == pytest.approx(covariance / sigma[:, None] / sigma, abs=1e-3)
