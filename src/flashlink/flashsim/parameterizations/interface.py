"""What a set of parameterizations is to the simulation, learned or binned: from condition to distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Condition, Floats, Integers
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.ghosts import GhostTracks
from flashlink.flashsim.parameterizations.photons import Clusters, PhotonCondition
from flashlink.flashsim.parameterizations.resolution import Tracks
from flashlink.flashsim.random import Draws


@dataclass(frozen=True)
class Sampled:
    """The tracks that particles became.

    Attributes:
        rows: Which of the particles have a track, in increasing order; shape (tracks,).
        category: LONG, UPSTREAM or DOWNSTREAM, shape (tracks,).
        tracks: Residuals, covariances and quality, at the z where the true line is closest to the beam.
        is_muon: Shape (tracks,).
        likelihoods: `flashlink.flashsim.likelihoods.PARTS`, shape (tracks, 7).
        extrapolated: Whether the particle lies outside of what training had, shape (tracks,).
    """

    rows: Integers
    category: npt.NDArray[np.int8]
    tracks: Tracks
    is_muon: npt.NDArray[np.bool_]
    likelihoods: Floats
    extrapolated: npt.NDArray[np.bool_]


class VertexModel(Protocol):
    """Of the primary vertex."""

    def sample(self, condition: EventCondition, draws: Draws) -> tuple[Floats, Floats]:
        """Draw residuals in mm, shape (events, 3), and covariances, shape (events, 3, 3)."""
        ...


class GhostModel(Protocol):
    """Of tracks that no particle made."""

    def number(self, condition: EventCondition, draws: Draws) -> Integers:
        """Draw how many each event has, shape (events,)."""
        ...

    def sample(self, condition: EventCondition, draws: Draws) -> GhostTracks:
        """Draw a ghost for each row of the condition, which is of its event."""
        ...


class PhotonModel(Protocol):
    """Of photons in the calorimeter.

    Attributes:
        z: Of the calorimeter's face, mm.
    """

    @property
    def z(self) -> float: ...  # noqa: D102  # the class docstring says it

    def sample(self, condition: PhotonCondition, draws: Draws) -> tuple[Integers, Clusters]:
        """Draw which of the photons have a cluster, in increasing order, and the clusters."""
        ...

    def in_range(self, condition: PhotonCondition) -> npt.NDArray[np.bool_]:
        """Which photons are like those of the training, shape (photons,)."""
        ...


class Training(Protocol):
    """The sample that a set of parameterizations was made from.

    Attributes:
        events: Events that the generated and the detailed sample both have.
        particles: Particles in them.
        tracks: Tracks that the detailed simulation made of them.
    """

    @property
    def events(self) -> int: ...  # noqa: D102  # the class docstring says it

    @property
    def particles(self) -> int: ...  # noqa: D102

    @property
    def tracks(self) -> int: ...  # noqa: D102


class Parameterizations(Protocol):
    """A set of parameterizations of the whole chain.

    Attributes:
        version: Of the flashlink that made it.
        training: What it was made from.
        trained_on: sha256 of each file of generated particles in that.
        vertex: Of the primary vertex.
        ghosts: Of tracks that no particle made.
        photons: Of photons; None where the training had none.
    """

    @property
    def version(self) -> str: ...  # noqa: D102  # the class docstring says it

    @property
    def training(self) -> Training: ...  # noqa: D102

    @property
    def trained_on(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def vertex(self) -> VertexModel: ...  # noqa: D102

    @property
    def ghosts(self) -> GhostModel: ...  # noqa: D102

    @property
    def photons(self) -> PhotonModel | None: ...  # noqa: D102

    def sample(self, condition: Condition, draws: Draws) -> Sampled:
        """Draw what becomes of particles; the result for one particle depends on nothing but its own row.

        Args:
            condition: The particles.
            draws: Their random numbers.
        """
        ...
