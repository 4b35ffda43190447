"""The verdict: the numbers of a validation against thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flashlink.errors import RequestError, wrong
from flashlink.flashsim.validation.measure import Efficiency, Numbers


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a flash simulation has to reach; a TOML file may set each.

    Attributes:
        auc: Of the two-sample tests, at most.
        pull: Width of the pulls of long tracks, from and to.
        efficiency: Difference of an efficiency from the reference's, at most, beyond two standard deviations.
    """

    auc: float = 0.55
    pull: tuple[float, float] = (0.95, 1.05)
    efficiency: float = 0.02


@dataclass(frozen=True)
class Check:
    """One line of the verdict: what was checked, what was found and wanted, and whether it holds."""

    name: str
    found: str
    wanted: str
    holds: bool


def read_thresholds(path: Path) -> Thresholds:
    """Read thresholds from a TOML file.

    Raises:
        RequestError: The file cannot be read, or has a key or value that is none of thresholds.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Thresholds)
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable file of thresholds") from error
    except msgspec.MsgspecError as error:
        raise RequestError(f"{path}: {error}; the keys are {', '.join(Thresholds.__struct_fields__)}") from error


def verdict(numbers: Numbers, thresholds: Thresholds) -> list[Check]:
    """Hold the numbers against the thresholds."""
    return [*_separations(numbers, thresholds), *_pulls(numbers, thresholds), _efficiency(numbers, thresholds)]


def _separations(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    for found in numbers.separations:
        name = f"classifier between the samples, {found.what} variables: AUC"
        yield Check(name, f"{found.auc:.3f}", f"below {thresholds.auc}", found.auc < thresholds.auc)


def _pulls(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    low, high = thresholds.pull
    for pull in numbers.pulls:
        found = f"{pull.flash:.3f} (reference {pull.reference:.3f})"
        yield Check(f"width of the pull of {pull.parameter}", found, f"{low} to {high}", low <= pull.flash <= high)


def _efficiency(numbers: Numbers, thresholds: Thresholds) -> Check:
    bad = [bin_ for bin_ in numbers.efficiencies if _beyond(bin_) > thresholds.efficiency]
    found = f"{len(bad)} of {len(numbers.efficiencies)} bins are not"
    if bad:
        worst = max(bad, key=_beyond)
        found += (
            f"; worst {worst.species}, {worst.condition} {worst.low:.3g} to {worst.high:.3g}: "
            f"{worst.flash:.3f} for {worst.reference:.3f}"
        )
    wanted = f"within {thresholds.efficiency} and two standard deviations"
    return Check("efficiencies of long tracks in bins", found, wanted, not bad and bool(numbers.efficiencies))


def _beyond(found: Efficiency) -> float:
    """How far an efficiency is off beyond what may be chance."""
    return abs(found.flash - found.reference) - 2 * found.error
