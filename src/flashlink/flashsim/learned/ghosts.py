"""Learned ghosts: how many an event has, and what each looks like, all its variables jointly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.learned import covariance as numbers
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.targets import ORDER, PARTIALS, SIGMAS
from flashlink.flashsim.learned.variables import Classes
from flashlink.flashsim.learned.vertex import EVENT_FEATURES, event_features
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.ghosts import GhostTracks
from flashlink.flashsim.random import Draws
from flashlink.flashsim.samples import HITS, TRACK_PARAMETERS
from flashlink.flashsim.states import covariances

#: Columns of the condition, of the number of ghosts and of each.
FEATURES = EVENT_FEATURES

#: The slice of log10 p that a ghost is in, as where it begins. What identifies a ghost steps with its momentum, and a
#: network draws a step sharply only from a class to the next.
SLICE = "slice"

#: The straight line of a ghost: the momentum as its place in the slice; z counts from the primary vertex.
LINE = ("place", "eta", "phi", "impact", "z")

_PLACES = np.array([TRACK_PARAMETERS.index(name) for name in ORDER])
_BACK = np.argsort(_PLACES)


def encoded(ghosts: Mapping[str, npt.NDArray[Any]]) -> dict[str, Floats]:
    """The line, sign and covariance of ghosts, from the columns of a reconstructed sample.

    Returns:
        ``log p`` and what else is in `LINE`, ``charge`` and the numbers of the covariance, with q/p in units of itself,
        each of shape (ghosts,).
    """
    tx, ty = ghosts["tx"], ghosts["ty"]
    units = _units(ghosts["qop"])
    matrices = covariances(ghosts) / units[:, :, None] / units[:, None]
    log_sigma, partials, _ = numbers.encoded(matrices[:, _PLACES][:, :, _PLACES])
    return {
        "log p": -np.log10(np.abs(ghosts["qop"])),
        "eta": np.arcsinh(1 / np.hypot(tx, ty)),
        "phi": np.arctan2(ty, tx),
        # At the point closest to the beam the track's place is at a right angle to its slopes.
        "impact": (ghosts["y"] * tx - ghosts["x"] * ty) / np.hypot(tx, ty),
        "z": ghosts["z"] - ghosts["pv_z"],
        "charge": np.sign(ghosts["qop"]),
        **dict(zip((*SIGMAS, *PARTIALS), np.concatenate([log_sigma, partials]), strict=True)),
    }


def sliced(log_p: Floats, begins: Floats) -> dict[str, Floats]:
    """The slice of each log10 p, and the place in it: from 0 to 1, in the last slice the distance from where it begins.

    Args:
        log_p: Shape (ghosts,).
        begins: Where the slices begin, increasing, the first at the least momentum.
    """
    number = np.maximum(np.searchsorted(begins, log_p, side="right") - 1, 0)
    return {SLICE: begins[number], "place": (log_p - begins[number]) / _widths(begins)[number]}


def _momenta(values: Mapping[str, Floats], begins: Floats) -> Floats:
    """log10 p of slices and places: the inverse of `sliced`."""
    number = np.searchsorted(begins, values[SLICE])
    most = np.append(np.ones(len(begins) - 1), np.inf)
    return np.asarray(begins[number] + np.clip(values["place"], 0, most[number]) * _widths(begins)[number])


def _widths(begins: Floats) -> Floats:
    return np.append(np.diff(begins), 1.0)


@dataclass(frozen=True)
class LearnedGhosts:
    """`flashlink.flashsim.parameterizations.interface.GhostModel` by two chains.

    Attributes:
        chains: Of the number of ghosts, and of each; None where the training had none, and no event has one.
        degrees: How ndf follows from the hits.
    """

    chains: tuple[Chain, Chain] | None
    degrees: Degrees

    def number(self, condition: EventCondition, draws: Draws) -> Integers:
        """Draw how many each event has, shape (events,)."""
        if self.chains is None:
            return np.zeros(len(condition), dtype=np.int64)
        drawn = self.chains[0].sample(event_features(condition), draws.uniform("simulate/ghosts", 1))
        return drawn["ghosts"].astype(np.int64)

    def sample(self, condition: EventCondition, draws: Draws) -> GhostTracks:
        """Draw a ghost for each row of the condition, which is of its event."""
        if self.chains is None:
            raise ValueError("ghosts are asked for from models of a training that had none")
        chain = self.chains[1]
        uniform = draws.uniform("simulate/ghost", len(chain.variables))
        values = chain.sample(event_features(condition), uniform)
        log_p = _momenta(values, np.array(_classes(chain, SLICE).values))
        slope = 1 / np.sinh(values["eta"])
        cosine, sine = np.cos(values["phi"]), np.sin(values["phi"])
        place = {"x": -values["impact"] * sine, "y": values["impact"] * cosine}
        state = place | {"tx": slope * cosine, "ty": slope * sine, "qop": values["charge"] / 10**log_p}
        factor = numbers.factors([values[name] for name in SIGMAS], [values[name] for name in PARTIALS])
        factor = factor[_BACK] * _units(state["qop"]).T[:, None]
        quality = {name: values[name] for name in ("category", *HITS, "is_muon", *PARTS)}
        return GhostTracks(
            state=np.stack([state[name] for name in TRACK_PARAMETERS], axis=1),
            covariance=numbers.covariance(factor),
            z=values["z"],
            quality=quality | self.degrees.quality(values),
        )


def _classes(chain: Chain, name: str) -> Classes:
    """A variable of classes of a chain."""
    return next(variable for variable in chain.variables if isinstance(variable, Classes) and variable.name == name)


def _units(qop: Floats) -> Floats:
    """What (x, y, tx, ty, q/p) are in units of, shape (ghosts, 5)."""
    units = np.ones((len(qop), 5))
    units[:, 4] = np.abs(qop)
    return units
