"""What tells the unit of a sample's lengths: physics that the unit does not enter.

Decays say it best: see `flashlink.flashsim.flights`. Where there are too few, collisions spread along the beam as those
of no collider. Tracks say it by their particles; alone, by errors that no detector has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.errors import wrong
from flashlink.flashsim.flights import Flights, of_chains, of_vertices

Columns = Mapping[str, npt.NDArray[Any]]

#: Decays that a verdict needs, and how far their median may be from that of their lifetimes: selections shift it, and
#: of few only thousands are told. Right ones fail by chance once in millions of times.
_MANY, _OFF = 30, 6.0
_FEW, _FAR = 8, 100.0

#: Least share of flights that go forward: others start where nothing was made.
_FORWARD = 0.9

#: Collisions that a verdict needs, and that are kept for it.
_COLLISIONS, _KEPT = 20, 100

#: Half of the width along the beam, in mm, that 68 % of collisions have at colliders; below the first are points.
_POINT, _NARROW, _WIDE = 1e-3, 0.5, 5000.0

#: Tracks or clusters that a verdict needs, those with the largest values, and how far these may be from true ones.
_ROWS, _LEAST, _APART = 50, 20, 3.0

#: How far pulls may be from those of a normal distribution, whose median absolute value is this.
_PULLED, _MEDIAN_PULL = 5.0, 0.674

#: What errors of a track's place, in mm, and momenta, in MeV, are at any detector.
_ERRORS, _MOMENTA = (1e-3, 5.0), (50.0, 1e7)

#: Other units of a length in mm.
_OTHERS = {"m": 1e-3, "cm": 0.1, "um": 1e3}

#: Columns by which a sample that can be checked is known.
_OF_GENERATED = {"event", "particle", "mother", "pdg", "stable", "px", "energy", "x", "pv_z"}
_OF_TRACKS = {"event", "qop", "cov_x_x", "cov_y_y"}

ADVICE = "give lengths in mm, or say their unit in a mapping"


class Lengths:
    """Watches the lengths of a generated sample that comes in pieces; keeps a few decays and collisions of it.

    Args:
        place: The file, for the message.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._flights = Flights.none()
        self._vertices: list[npt.NDArray[Any]] = []
        self._collisions = 0
        self._proved = False

    def see(self, columns: Columns) -> None:
        """Look at a piece: `flashlink.flashsim.samples.GENERATED`.

        Raises:
            RequestError: Its lengths are in another unit, or not all in one.
        """
        if not len(columns["event"]):
            return
        _check_origin(self._place, columns)
        self.decays(of_chains(columns))
        self.decays(of_vertices(columns))
        self.collisions(columns)

    def decays(self, flights: Flights) -> None:
        """Look at decays; the error is that of `see`."""
        if len(flights):
            self._flights = Flights.joined([self._flights, flights]).distinct()
        if len(self._flights) >= _MANY:
            self._judge(_OFF)

    def collisions(self, columns: Columns) -> None:
        """Note where collisions were."""
        if not self._proved and self._collisions < _KEPT:
            first = np.flatnonzero(np.diff(columns["event"], prepend=columns["event"][:1] - 1))[:_KEPT]
            self._vertices.append(np.stack([columns["event"][first], columns["pv_z"][first]]))
            self._collisions += len(first)

    def end(self) -> None:
        """Judge by what there was.

        Raises:
            RequestError: That of `see`.
        """
        if len(self._flights) >= _FEW:
            self._judge(_FAR)
        elif self._vertices and not self._proved:
            self._judge_collisions()

    def _judge(self, most: float) -> None:
        flights, self._flights = self._flights, Flights.none()
        if flights.forward.mean() < _FORWARD:
            return
        self._proved = True
        for index, axis in enumerate("xyz"):
            ratio = flights.ratio[:, index] / np.log(2)
            usable = np.isfinite(ratio)
            median = float(np.median(ratio[usable])) if usable.any() else 1.0
            if not 1 / most < median < most:
                row = int(np.flatnonzero(usable & _beyond(ratio, median))[0])
                expected = f"in mm: {usable.sum()} decays flew {median:.2g} times what lifetimes say{_unit(median)}"
                where = f"{self._place}: column {axis}, event {flights.event[row]}"
                raise wrong(where, float(flights.end[row, index]), expected, ADVICE)

    def _judge_collisions(self) -> None:
        event, z = np.concatenate(self._vertices, axis=1)
        # Events that are used several times are one collision.
        z, first = np.unique(z, return_index=True)
        if len(z) < _COLLISIONS:
            return
        low, high = np.quantile(z, [0.16, 0.84])
        width = float(high - low) / 2
        if _POINT < width < _NARROW or width > _WIDE:
            unit = "m" if width < _NARROW else "um"
            expected = f"in mm: collisions spread by {width:.2g} along the beam, those of colliders do in {unit}"
            where = f"{self._place}: column pv_z, event {int(event[first[0]])}"
            raise wrong(where, float(z[0]), expected, ADVICE)


def watched(parts: Iterable[dict[str, npt.NDArray[Any]]], place: str) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The pieces of a sample from elsewhere, each checked by `Lengths` or `check_tracks` before it is given on."""
    lengths = Lengths(place)
    for columns in parts:
        if _OF_GENERATED.issubset(columns):
            lengths.see(columns)
        elif _OF_TRACKS.issubset(columns):
            check_tracks(place, columns)
        yield columns
        del columns  # before the next one is read
    lengths.end()


def check_tracks(place: str, tracks: Columns) -> None:
    """Check the units of a reconstructed sample, or of a piece of it, by itself.

    Raises:
        RequestError: Momenta or errors are those of no detector.
    """
    if len(tracks["event"]) < _ROWS:
        return
    momentum = float(np.median(1 / np.maximum(np.abs(tracks["qop"]), 1e-30)))
    if not _MOMENTA[0] < momentum < _MOMENTA[1]:
        expected = f"in 1/MeV: half of the momenta would be below {momentum:.2g} MeV"
        raise _first(place, tracks, "qop", expected, "give qop in 1/MeV, or its unit in a mapping")
    for axis in "xy":
        error = float(np.sqrt(np.median(np.abs(tracks[f"cov_{axis}_{axis}"]))))
        if not _ERRORS[0] < error < _ERRORS[1]:
            expected = f"in mm2: half of the errors of {axis} would be below {error:.2g} mm"
            raise _first(place, tracks, f"cov_{axis}_{axis}", expected, ADVICE)


def check_values(place: str, sample: Columns, name: str, true: npt.NDArray[Any]) -> None:
    """Check a reconstructed column against the true values.

    Args:
        place: The sample, for the message.
        sample: Its columns.
        name: Name of the column.
        true: The true values.

    Raises:
        RequestError: Most of the largest values are a factor off: another unit.
    """
    found, size = sample[name], np.abs(true)
    if len(size) < _ROWS:
        return
    # The largest stand out of the resolution, whatever the unit.
    large = np.flatnonzero((size >= np.quantile(size, 0.9)) & (size > 0))
    if len(large) < _LEAST:
        return
    low, ratio, high = np.quantile(found[large] / true[large], [0.16, 0.5, 0.84])
    # Where the resolution is worse than all that is there, the median itself is not sure.
    error = 1.25 * (high - low) / 2 / np.sqrt(len(large))
    if not 1 / _APART < ratio < _APART and abs(ratio - 1) > 5 * error:
        expected = f"about the true {true[large[0]]:.4g}: the largest are {ratio:.2g} times the true ones"
        raise _first(place, sample, name, expected, ADVICE, large[0])


def check_errors(place: str, sample: Columns, name: str, difference: npt.NDArray[Any]) -> None:
    """Check a column of squared errors against the differences from the true values; errors are those of above.

    Args:
        place: The sample, for the message.
        sample: Its columns.
        name: Name of the column.
        difference: Reconstructed minus true values.
    """
    if len(difference) < _ROWS:
        return
    pull = float(np.median(np.abs(difference) / np.sqrt(np.maximum(sample[name], 1e-300))))
    if pull > 0 and not 1 / _PULLED < pull / _MEDIAN_PULL < _PULLED:
        expected = f"a squared error: half of the differences from the true values are below {pull:.2g} errors"
        raise _first(place, sample, name, expected, "give squares in our units, or the unit in a mapping")


def _check_origin(place: str, columns: Columns) -> None:
    """Most particles come from where the collision was, so no power of ten lies between the two places."""
    for axis in "xyz":
        vertex = columns[f"pv_{axis}"]
        rows = np.flatnonzero((vertex != 0) & (columns["stable"] != 0))
        if len(rows) < _ROWS:
            continue
        ratio = columns[axis][rows] / vertex[rows]
        median = float(np.median(ratio))
        power = 10 ** np.round(np.log10(max(abs(median), 1e-30)))
        alike = np.abs(ratio / power - 1) < 0.01
        if power != 1 and alike.mean() > 0.5:
            row = rows[np.flatnonzero(alike)[0]]
            expected = f"in the unit of pv_{axis}, which is {vertex[row]:.4g}; most are {power:.4g} times theirs"
            raise _first(place, columns, axis, expected, ADVICE, row)


def _beyond(ratio: npt.NDArray[Any], median: float) -> npt.NDArray[np.bool_]:
    """Which are as far off as the median is."""
    return np.asarray(ratio <= median if median < 1 else ratio >= median)


def _unit(ratio: float) -> str:
    """What unit makes lengths appear longer by the ratio, if there is one."""
    name = min(_OTHERS, key=lambda name: abs(np.log(ratio / _OTHERS[name])))
    return f", as lengths in {name} do" if 1 / 3 < ratio / _OTHERS[name] < 3 else ""


def _first(place: str, columns: Columns, name: str, expected: str, advice: str, row: Any = 0) -> Exception:
    return wrong(f"{place}: column {name}, event {columns['event'][row]}", columns[name][row].item(), expected, advice)
