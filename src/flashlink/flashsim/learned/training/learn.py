"""Learn all models from a detailed simulation: what each chain is given and draws, and the rows of the training."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from flashlink import __version__
from flashlink.errors import RequestError, wrong
from flashlink.flashsim.learned import quality, targets
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.learned.features import FEATURES, MEASURED, Ranges, features, measured, one_hot
from flashlink.flashsim.learned.models import CHAINS, FORMAT, OPTIONAL, Described, Manifest, Models, Origin, Trained
from flashlink.flashsim.learned.photons import PhotonRanges
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.training.calibrate import calibrated
from flashlink.flashsim.learned.training.event import event_problems, photon_problems
from flashlink.flashsim.learned.training.fit import Progress, Rows, Settings, fit
from flashlink.flashsim.learned.training.network import Shape
from flashlink.flashsim.learned.training.problem import Problem, likelihoods, slices, weights
from flashlink.flashsim.learned.variables import Apart, Classes, Continuous, Variable
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.parameterize import Matched, match
from flashlink.flashsim.random import Stream
from flashlink.flashsim.states import Columns, covariances, moved, moved_covariance, states, true_states

#: Share of the events by which a training is stopped.
VALIDATION = 0.1

#: How the columns of a condition are called.
_CATEGORIES = ("is long", "is upstream", "is downstream")

#: The categories are calibrated apart: what is neither long nor upstream is downstream.
_APART = tuple(Apart(name, (0.0, 1.0)) for name in _CATEGORIES[:2])

#: From least to largest variance: the errors first, since all else is in units of them.
_SMOOTH = (*targets.SIGMAS, *targets.PARTIALS, "log chi2/ndf", *targets.PULLS, "ghost log odds")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of each chain."""

    category: Settings = Settings(head=64, epochs=5)
    track: Settings = Settings(epochs=18, batch=256)
    identification: Settings = Settings(trunk=(128, 128, 64), head=64, components=10, epochs=18, batch=256, classes=16)
    vertex: Settings = Settings(trunk=(64, 48), head=24, epochs=24, batch=256)
    ghosts: Settings = Settings(trunk=(32, 32), head=32, epochs=16, batch=128)
    ghost: Settings = Settings(trunk=(96, 64), head=40, components=8, epochs=44, batch=128, patience=16, rate=3e-3)
    photon: Settings = Settings(trunk=(96, 96, 64), head=32, epochs=10, batch=1024)
    cluster: Settings = Settings(trunk=(96, 64, 48), head=24, epochs=16, batch=256, patience=16)


_Plan = TypeVar("_Plan", bound=Plan)


def read_plan(path: Path | None) -> Plan:
    """The settings of a training from a TOML file with a section for each chain; what it lacks is the shipped models'.

    Raises:
        RequestError: The file cannot be read, or has a key or value that is none of settings.
    """
    return decoded_plan(path, Plan) if path else Plan()


def decoded_plan(path: Path, kind: type[_Plan]) -> _Plan:
    """A plan, of whichever kind, from a TOML file; errors are those of `read_plan`."""
    try:
        found: dict[str, Any] = msgspec.toml.decode(path.read_bytes(), type=dict)
        for chain, settings in msgspec.to_builtins(Plan()).items():
            found[chain] = settings | found.get(chain, {})
        return msgspec.convert(found, kind)
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable plan of a training") from error
    except (msgspec.MsgspecError, TypeError) as error:
        raise RequestError(f"{path}: {error}; the keys are {', '.join(Settings.__struct_fields__)}") from error


#: Every chain that there is.
ALL = (*CHAINS, *(name for group in OPTIONAL for name in group))


def learn(
    generated: Columns, reference: Columns, plan: Plan, seed: int, *, photons: tuple[Columns, float] | None = None,
    digests: tuple[tuple[str, ...], ...] = ((), (), ()), only: Collection[str] = ALL, keep: Models | None = None,
    checkpoints: Path | None = None,
    told: Callable[[str, Settings, Progress], None] = lambda *_: None,
) -> Models:  # fmt: skip
    """Learn models; the same arguments give the same models.

    Args:
        generated: Columns of a generated sample; with `WEIGHT` if its rows have weights.
        reference: Columns of the reconstructed sample; the same.
        plan: How.
        seed: Of the training.
        photons: The clusters that the detailed simulation made, and where they are, mm.
        digests: sha256 of the files that they come from: generated, reference, photons.
        only: Chains to train.
        keep: Models whose other chains are taken as they are.
        checkpoints: Folder in which an interrupted training left where it was, and will again.
        told: Called after each epoch, and once for all of them that a checkpoint has, with the name of the chain.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    found = problems_of(generated, reference, photons, only, keep)
    matched, condition = found.matched, found.condition
    origin = Origin(
        digests[0], digests[1],
        events=len(first_rows(matched.generated["event"])),
        particles=len(condition),
        tracks=len(matched.tracks["event"]),
        seed=seed,
        versions={name: version(name) for name in ("jax", "numpy", "onnx", "optax")},
        photons=digests[2],
    )  # fmt: skip
    chains, described = _kept(keep, only, origin) if keep else ({}, {})
    for problem in found.problems:
        if problem.name in only:
            settings = getattr(plan, problem.name)
            checkpoint = checkpoints / f"{problem.name}.npz" if checkpoints else None
            chains[problem.name], described[problem.name] = _trained(problem, settings, seed, checkpoint, told)
    of_track = Condition.of(matched.truth)
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        origin=origin,
        ranges=Ranges.of(condition),
        accepted=(float(of_track.log_p.min()), float(of_track.eta.min()), float(of_track.eta.max())),
        degrees=found.degrees,
        chains=described,
        digests={},
        photons=found.photons,
    )
    if keep and "category" not in only:
        manifest = replace(manifest, ranges=keep.manifest.ranges, accepted=keep.manifest.accepted)
    if keep and "photon" not in only:
        manifest = replace(manifest, photons=keep.manifest.photons)
    return Models(manifest, chains)


def _kept(models: Models, only: Collection[str], origin: Origin) -> tuple[dict[str, Chain], dict[str, Described]]:
    """The chains that are not trained, with what they were learned from if that is not `origin`."""
    described = {name: one for name, one in models.manifest.chains.items() if name not in only}
    origins = {name: one.origin or models.manifest.origin for name, one in described.items()}
    return {name: models.chains[name] for name in described}, {
        name: replace(one, origin=None if origins[name] == origin else origins[name]) for name, one in described.items()
    }


@dataclass(frozen=True)
class Problems:
    """What there is to learn from samples.

    Attributes:
        matched: Particles and their tracks.
        condition: Of the particles.
        degrees: How degrees of freedom follow from hits.
        problems: Of the chains.
        photons: The photons that the training had, if any.
    """

    matched: Matched
    condition: Condition
    degrees: tuple[float, ...]
    problems: Sequence[Problem]
    photons: PhotonRanges | None


def problems_of(
    generated: Columns, reference: Columns, photons: tuple[Columns, float] | None, only: Collection[str] = ALL,
    keep: Models | None = None,
) -> Problems:  # fmt: skip
    """What chains learn, at least those of `only`; arguments and errors are those of `learn`."""
    _in_one_order()
    matched = match(generated, reference)
    condition = Condition.of(matched.particles)
    degrees = keep.manifest.degrees if keep and "track" not in only else Degrees.of(matched.tracks).terms
    problems = [*event_problems(matched, Degrees(degrees))]
    if set(only) & {"category", "track", "identification"}:
        problems = [*_problems(matched, condition), *problems]
    ranges = None
    if photons is not None:
        # An event may have clusters and no track, or the other way round.
        both = np.isin(generated["event"], np.union1d(reference["event"], photons[0]["event"]))
        ranges, of_photons = photon_problems({name: column[both] for name, column in generated.items()}, *photons)
        problems += of_photons
    return Problems(matched, condition, degrees, problems, ranges)


def _in_one_order() -> None:
    """Sums in an order that does not depend on the machine's cores; read by jax when it first computes."""
    flags = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1", "--xla_gpu_deterministic_ops=true")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))


def _problems(matched: Matched, condition: Condition) -> Sequence[Problem]:
    tracks, truth = matched.tracks, Condition.of(matched.truth)
    category = matched.category.astype(np.float64)
    weight, weight_tracks = weights(matched.particles), weights(matched.tracks)
    seen = np.concatenate([features(truth), one_hot(tracks["category"].astype(np.int8))], axis=1)
    names = (*FEATURES, *_CATEGORIES)
    variables, values = _track(matched, truth)
    residual = tracks["qop"] - truth.charge / 10**truth.log_p
    seen_measured = np.concatenate([seen, measured(truth, residual)], axis=1)
    outcome = (Classes.of("category", category),)
    event, event_tracks = matched.particles["event"], tracks["event"]
    apart = (*_APART, slices("log p", seen[:, names.index("log p")]))
    return (
        Problem("category", FEATURES, features(condition), outcome, {"category": category}, event, weight),
        Problem("track", names, seen, variables, values, event_tracks, weight_tracks, apart),
        Problem(
            "identification",
            (*names, *MEASURED),
            seen_measured,
            *likelihoods(tracks),
            event_tracks,
            weight_tracks,
            apart,
        ),
    )


def _track(matched: Matched, truth: Condition) -> tuple[tuple[Variable, ...], dict[str, Floats]]:
    """Hits first, then the errors that they leave, then what is in units of these."""
    tracks = matched.tracks
    line, z = true_states(matched.truth)
    step = z - tracks["z"]
    residual, covariance = moved(states(tracks), step) - line, moved_covariance(covariances(tracks), step)
    values = targets.encoded(residual, covariance, truth)
    values |= quality.encoded(tracks)
    counted = Degrees.of(tracks).counted
    return (
        *(Classes.of(name, values[name]) for name in counted),
        *(Continuous.of(name, values[name]) for name in _SMOOTH),
    ), values


@dataclass(frozen=True)
class Prepared:
    """A problem as its network sees it.

    Attributes:
        train: What it learns from.
        valid: The events that tell when to stop.
        mean: Of each input, which is taken off.
        scale: What each is divided by then.
        bounds: Least and largest of each input, shape (2, inputs).
    """

    train: Rows
    valid: Rows
    mean: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    bounds: npt.NDArray[Any]


def prepared(problem: Problem, seed: int) -> Prepared:
    """Encode the variables of a problem, scale its inputs and split its events.

    Raises:
        RequestError: There are too few events to split.
    """
    variables = problem.variables
    inside = np.stack([variable.encode(problem.values[variable.name]) for variable in variables], axis=1)
    for column, variable in enumerate(variables):
        if isinstance(variable, Continuous) and variable.when:
            absent = ~np.array(variable.present)[problem.values[variable.when].astype(np.int64)]
            inside[absent, column] = np.nan
    mean, scale = problem.condition.mean(axis=0), problem.condition.std(axis=0)
    # A column that never changes says nothing.
    scale = np.where(scale > 1e-9, scale, 1.0)
    bounds = np.stack([problem.condition.min(axis=0), problem.condition.max(axis=0)])
    condition = ((problem.condition - mean) / scale).astype(np.float32)
    events, place = np.unique(problem.event, return_inverse=True)
    valid = Stream(seed, "train/split").uniform(events, 0, 1)[0][place] < VALIDATION
    if not valid.any() or valid.all():
        raise RequestError(f"train: {len(events)} events are too few to split; give more events")
    weight = problem.weight.astype(np.float32)
    train, test = (Rows(condition[rows], inside[rows], weight[rows]) for rows in (~valid, valid))
    return Prepared(train, test, mean, scale, bounds)


def shape_of(problem: Problem, settings: Settings) -> Shape:
    """The network of a problem."""
    return Shape(len(problem.inputs), problem.variables, settings.trunk, settings.head, settings.components)


def _trained(
    problem: Problem, settings: Settings, seed: int, checkpoint: Path | None,
    told: Callable[[str, Settings, Progress], None],
) -> tuple[Chain, Described]:  # fmt: skip
    from flashlink.flashsim.learned.training.export import exported

    rows, shape = prepared(problem, seed), shape_of(problem, settings)
    parameters, progress = fit(
        shape, settings, rows.train, rows.valid, seed, checkpoint,
        lambda progress: told(problem.name, settings, progress),
    )  # fmt: skip
    model = exported(parameters, shape, rows.mean, rows.scale, rows.bounds)
    trained = Trained(
        rows=(len(rows.train.condition), len(rows.valid.condition)),
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        loss=progress.losses[progress.best_epoch - 1],
        trunk=settings.trunk,
        head=settings.head,
        components=settings.components,
    )
    chain = calibrated(Chain(problem.variables, problem.inputs, model), problem, seed)
    return chain, Described(problem.inputs, chain.variables, trained, apart=chain.apart)
