"""Propagation of track states along z, straight or through the dipole.

A state is (x, y, tx, ty, q/p) at a z; many of them are an array of shape (5, n). mm, 1/MeV.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.reference.geometry import Field

Floats = npt.NDArray[np.float64]

#: MeV / (T mm) for a particle of one elementary charge: the speed of light in these units.
KAPPA = 0.299792458

#: Longest Runge-Kutta step, mm; from 3 GeV on, halving it moves no state by more than a tenth of the hit resolution.
_LONGEST_STEP = 450.0

#: Slope at which a particle that curls up is stopped from reaching infinity; it is lost long before.
_STEEPEST = 5.0

#: Displacements for numerical derivatives: of tx and ty, and of q/p in parts of itself.
_SLOPE_STEP = 1e-7
_MOMENTUM_STEP = 1e-7


def straight(state: Floats, distance: npt.ArrayLike) -> Floats:
    """States moved by `distance` mm along z without a field."""
    moved = state.copy()
    moved[0] += state[2] * distance
    moved[1] += state[3] * distance
    return moved


def bend(state: Floats, start: float, end: float, field: Field) -> Floats:
    """States moved from z = `start` to `end` through the field, by the Runge-Kutta method of fourth order.

    The equations of motion are those of a charge in By, with z as the variable:
    tx' = -k (q/p) n By (1 + tx²), ty' = -k (q/p) n By tx ty, n = sqrt(1 + tx² + ty²).
    """
    steps = max(1, math.ceil(abs(end - start) / _LONGEST_STEP))
    step = (end - start) / steps
    moved = state.copy()
    push = -KAPPA * state[4]
    for number in range(steps):
        z = start + number * step
        fields = (field.by(z), field.by(z + step / 2), field.by(z + step))
        _runge_kutta(moved, push, step, fields)
    return moved


def _runge_kutta(state: Floats, push: Floats, step: float, fields: tuple[float, float, float]) -> None:
    slopes = state[2:4]
    first = _turn(slopes, push * fields[0])
    second = _turn(slopes + step / 2 * first, push * fields[1])
    third = _turn(slopes + step / 2 * second, push * fields[1])
    fourth = _turn(slopes + step * third, push * fields[2])
    state[0:2] += step * slopes + step**2 / 6 * (first + second + third)
    slopes += step / 6 * (first + 2 * (second + third) + fourth)


def _turn(slopes: Floats, push: Floats) -> Floats:
    tx, ty = np.clip(slopes, -_STEEPEST, _STEEPEST)
    change = np.empty_like(slopes)
    stretched = push * np.sqrt(1 + tx * tx + ty * ty)
    change[0] = stretched * (1 + tx * tx)
    change[1] = stretched * tx * ty
    return change


def with_derivatives(state: Floats, move: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Move states, and tell how the results depend on slopes and momentum.

    Args:
        state: Shape (5, n).
        move: The motion, as a function of states; it must not depend on x and y.

    Returns:
        The moved states, and the derivatives of their x, y, tx, ty by tx, ty, q/p less those of no motion at all, shape
        (4, 3, n).
    """
    count = state.shape[1]
    shift = np.stack([np.full(count, _SLOPE_STEP), np.full(count, _SLOPE_STEP), _MOMENTUM_STEP * state[4]])
    varied = np.tile(state, 4)
    for number in range(3):
        varied[2 + number, (number + 1) * count : (number + 2) * count] += shift[number]
    moved = move(varied).reshape(5, 4, count)
    derivatives = (moved[:4, 1:] - moved[:4, :1]) / shift
    derivatives[2, 0] -= 1
    derivatives[3, 1] -= 1
    return np.ascontiguousarray(moved[:, 0]), derivatives


def beam_distance(state: Floats) -> Floats:
    """How far along z the straight continuation of each state comes closest to the beam axis, mm."""
    x, y, tx, ty, _ = state
    return np.asarray(-(x * tx + y * ty) / np.maximum(tx * tx + ty * ty, 1e-12))


def cylinder_distance(state: Floats, radius: float) -> Floats:
    """How far along z the straight continuation leaves a cylinder around the beam; NaN if it never touches it, mm."""
    x, y, tx, ty, _ = state
    slope = np.maximum(tx * tx + ty * ty, 1e-12)
    half = (x * tx + y * ty) / slope
    square = half * half - (x * x + y * y - radius * radius) / slope
    return np.where(square > 0, -half + np.sqrt(np.maximum(square, 0)), np.nan)
