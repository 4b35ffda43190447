"""States as straight lines: covariances move as states do, and charges are those of the curvature."""

import numpy as np
import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.samples import COVARIANCE
from flashlink.flashsim.states import check_definite, moved, moved_covariance, state_columns, to_beam


def test_covariances_move_as_states_do():
    random = np.random.default_rng(1)
    factor = random.normal(size=(50, 5, 5))
    covariance, step = factor @ factor.transpose(0, 2, 1), random.normal(0, 10, 50)
    # Moving is linear: what it makes of the unit vectors is its Jacobian.
    jacobian = np.stack([moved(np.eye(5), np.full(5, length)).T for length in step])
    expected = jacobian @ covariance @ jacobian.transpose(0, 2, 1)
    np.testing.assert_allclose(moved_covariance(covariance, step), expected, rtol=1e-12, atol=1e-9)


def test_the_point_closest_to_the_beam_is_no_farther_than_its_neighbours():
    state = np.random.default_rng(1).normal(size=(50, 5))
    at = moved(state, to_beam(state))
    nearest = np.hypot(at[:, 0], at[:, 1])
    for step in (-0.01, 0.01):
        near = moved(at, np.full(50, step))
        assert (np.hypot(near[:, 0], near[:, 1]) > nearest).all()


def test_a_covariance_that_is_none_is_told_with_its_event():
    covariance = np.tile(np.diag([1e-4, 1e-4, 1e-8, 1e-8, 1e-14]), (3, 1, 1))
    columns = {"event": np.array([4, 5, 6])} | state_columns(np.zeros((3, 5)), covariance)
    check_definite("r", columns, COVARIANCE, 5)
    columns["cov_y_x"][1] = 1.1e-4
    with pytest.raises(RequestError, match=r"r: columns cov_x_x to cov_qop_qop, event 5: -0.1"):
        check_definite("r", columns, COVARIANCE, 5)
