"""What the values of a sample can be: finite, within physical limits, and in MeV and mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.errors import wrong
from flashlink.flashsim.flights import LIFETIMES
from flashlink.flashsim.samples import DOWNSTREAM, LONG, TRACK_PARAMETERS, UPSTREAM

#: Largest absolute values by column: more is no particle of a collider, or a number in another unit.
LARGEST = {
    **dict.fromkeys(("px", "py", "pz", "energy"), 1e8),  # MeV: 100 TeV
    **dict.fromkeys(("x", "y", "z"), 1e9),  # mm; a line nearly along the beam is closest to it far away
    **dict.fromkeys(("pv_x", "pv_y", "pv_z"), 1e6),
    "multiplicity": 1e6,
    "charge": 3,
    **dict.fromkeys(("tx", "ty"), 1e3),
    "qop": 1,  # 1/MeV
    **dict.fromkeys(("pdg", "true_pdg"), 1.1e9),  # nuclei have ten digits
}

#: Columns that count, and others of which none is below 0.
COUNTS = ("multiplicity", "tracks", "clusters", "ndf")
_NOT_NEGATIVE = ("chi2", "vertex_hits", "upstream_hits", "station_hits")

#: Squared errors.
_SQUARES = (
    *(f"cov_{name}_{name}" for name in (*TRACK_PARAMETERS, "energy")), *(f"pv_cov_{axis}_{axis}" for axis in "xyz")
)  # fmt: skip

#: Track categories.
CATEGORIES = (LONG, UPSTREAM, DOWNSTREAM)

#: Masses in MeV (PDG 2024) by which momenta in another unit are noticed, beside those of what decays. Generators may
#: take electrons as massless.
MASSES = {11: 0.0, 22: 0.0, 13: 105.6584, 211: 139.5704, 321: 493.677, 2212: 938.2721}

#: Relative differences of the squared mass that are taken for rounding: of itself, and of the squared energy, since a
#: text with eight digits has no more.
_OF_MASS, _OF_ENERGY = 0.2, 1e-6

#: The same of what is taken as massless, of its squared energy beyond 1 MeV: generators round it.
_OF_LIGHT = 1e-3


def check(place: str, columns: Mapping[str, npt.NDArray[Any]], event: str = "event") -> None:
    """Check the columns of a sample, of whichever kind.

    Args:
        place: The file or step, for the message.
        columns: Those that are there are checked.
        event: The column that names a row to the reader.

    Raises:
        RequestError: The first value that is not finite, too large, there twice or of no particle's mass:
            with column and event.
    """
    for name, values in columns.items():
        bad = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(0, dtype=bool)
        if bad.any():
            raise _wrong(place, columns, name, event, bad, "a finite number")
        limit = LARGEST.get(name, 1e24 if name in _SQUARES else None)
        if limit is not None and len(values) and (values.max() > limit or values.min() < -limit):
            bad = (values > limit) | (values < -limit)
            raise _wrong(place, columns, name, event, bad, f"within {limit:g} of 0; units are MeV and mm")
        if name in COUNTS and (values < 0).any():
            raise _wrong(place, columns, name, event, values < 0, "a number of particles, 0 or more")
        if name in _NOT_NEGATIVE and (values < 0).any():
            raise _wrong(place, columns, name, event, values < 0, "0 or more")
        if name in (*_SQUARES, "p") and (values <= 0).any():
            raise _wrong(place, columns, name, event, values <= 0, "above 0")
    if {"event", "particle", "mother"} <= set(columns):
        _check_twice(place, columns, "particle")
    for name in {"track", "cluster"} & set(columns):
        _check_twice(place, columns, name)
    if {"category", "qop", "particle"} <= set(columns):
        _check_tracks(place, columns, event)
    if "cluster" in columns and (columns["energy"] <= 0).any():
        raise _wrong(place, columns, "energy", event, columns["energy"] <= 0, "above 0")
    if {"pdg", "px", "py", "pz", "energy", "stable"} <= set(columns):
        _check_motion(place, columns, event)
        _check_masses(place, columns, event)


def _check_twice(place: str, columns: Mapping[str, npt.NDArray[Any]], name: str) -> None:
    """A particle is keyed by its event and its number: two with the same would have the same random numbers."""
    event, number = columns["event"], columns[name]
    ahead = (event[1:] > event[:-1]) | (event[1:] == event[:-1]) & (number[1:] > number[:-1])
    if not ahead.all():
        order = np.lexsort((number, event))
        same = np.flatnonzero((np.diff(event[order]) == 0) & (np.diff(number[order]) == 0))
        if len(same):
            row = order[same[0] + 1]
            expected = "there once in its event"
            raise wrong(f"{place}: column {name}, event {int(event[row])}", int(number[row]), expected)
    if (number < 0).any():
        raise _wrong(place, columns, name, "event", number < 0, f"the number of a {name}, 0 or more")


def _check_tracks(place: str, columns: Mapping[str, npt.NDArray[Any]], event: str) -> None:
    known = np.isin(columns["category"], CATEGORIES)
    if not known.all():
        expected = f"a category, one of {', '.join(map(str, CATEGORIES))}"
        raise _wrong(place, columns, "category", event, ~known, expected)
    nobody = columns["particle"] < -1
    if nobody.any():
        raise _wrong(place, columns, "particle", event, nobody, "the number of a particle, or -1 for a ghost")
    still = columns["qop"] == 0
    if still.any():
        raise _wrong(place, columns, "qop", event, still, "charge over momentum, other than 0")


def _check_motion(place: str, columns: Mapping[str, npt.NDArray[Any]], event: str) -> None:
    """What stands still goes nowhere, and has no direction."""
    rests = (columns["px"] == 0) & (columns["py"] == 0) & (columns["pz"] == 0) & (columns["stable"] != 0)
    if rests.any():
        raise _wrong(place, columns, "pz", event, rests, "a momentum, as px and py are 0 too", "leave the particle out")


def _check_masses(place: str, columns: Mapping[str, npt.NDArray[Any]], event: str) -> None:
    species, stable = np.abs(columns["pdg"]), columns["stable"] != 0
    squared = columns["energy"] ** 2
    found = squared - sum(columns[name] ** 2 for name in ("px", "py", "pz"))
    of_chains = {number: mass for number, (mass, _) in LIFETIMES.items()} if not stable.all() else {}
    for number, mass in (*MASSES.items(), *of_chains.items()):
        tolerance = _OF_MASS * mass**2 + _OF_ENERGY * squared if mass else 1 + _OF_LIGHT * squared
        among = ~stable if number in of_chains else stable
        bad = (np.abs(found - mass**2) > tolerance) & (species == number) & among
        if bad.any():
            expected = f"that of particle {number} with its momentum and mass of {mass:.1f} MeV"
            raise _wrong(place, columns, "energy", event, bad, expected, "give energies and momenta in MeV")


def _wrong(
    place: str, columns: Mapping[str, npt.NDArray[Any]], name: str, event: str, bad: npt.NDArray[np.bool_],
    expected: str, advice: str = "",
) -> Exception:  # fmt: skip
    row = int(np.flatnonzero(bad)[0])
    where = f"event {int(columns[event][row])}" if event in columns else f"row {row}"
    return wrong(f"{place}: column {name}, {where}", columns[name][row].item(), expected, advice)
