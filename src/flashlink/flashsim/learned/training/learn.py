"""Learn all models from a detailed simulation: what each chain is given and draws, and the rows of the training."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from flashlink import __version__
from flashlink.errors import RequestError, wrong
from flashlink.flashsim.learned import targets
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.learned.features import FEATURES, MEASURED, Ranges, features, measured, one_hot
from flashlink.flashsim.learned.models import FORMAT, Described, Event, Manifest, Models, Origin, Trained
from flashlink.flashsim.learned.training.fit import Progress, Rows, Settings, fit
from flashlink.flashsim.learned.training.network import Shape
from flashlink.flashsim.learned.variables import Classes, Continuous, Variable
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterize import Matched, fit_ghosts, fit_vertex, match
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import HITS
from flashlink.flashsim.states import Columns, covariances, moved, moved_covariance, states, true_states

#: Share of the events by which a training is stopped.
VALIDATION = 0.1

#: Column of the weights in a sample of anybody's; ours have none.
WEIGHT = "weight"

#: How the columns of a condition are called.
_CATEGORIES = ("is long", "is upstream", "is downstream")

#: From least to largest variance: the errors first, since all else is in units of them.
_SMOOTH = (*targets.SIGMAS, *targets.PARTIALS, "log chi2/ndf", *targets.PULLS, "ghost log odds")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of each chain."""

    category: Settings = Settings(head=64, epochs=5)
    track: Settings = Settings(epochs=18, batch=256)
    identification: Settings = Settings(trunk=(128, 128, 64), head=64, components=10, epochs=18, batch=256)


def read_plan(path: Path | None) -> Plan:
    """The settings of a training from a TOML file with a section for each chain; by default the shipped models'.

    Raises:
        RequestError: The file cannot be read, or has a key or value that is none of settings.
    """
    if path is None:
        return Plan()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable plan of a training") from error
    except msgspec.MsgspecError as error:
        raise RequestError(f"{path}: {error}; the keys are {', '.join(Settings.__struct_fields__)}") from error


@dataclass(frozen=True)
class Problem:
    """What one chain learns.

    Attributes:
        name: Of the chain.
        inputs: Names of the columns of the condition.
        condition: The columns, shape (rows, inputs).
        variables: What is drawn.
        values: Of each variable, shape (rows,).
        event: Of each row.
        weight: Of each row.
    """

    name: str
    inputs: tuple[str, ...]
    condition: Floats
    variables: tuple[Variable, ...]
    values: Mapping[str, Floats]
    event: npt.NDArray[np.int64]
    weight: Floats


def learn(
    generated: Columns, reference: Columns, plan: Plan, seed: int, *,
    digests: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()), checkpoints: Path | None = None,
    told: Callable[[str, Settings, Progress], None] = lambda *_: None,
) -> Models:  # fmt: skip
    """Learn models; the same arguments give the same models.

    Args:
        generated: Columns of a generated sample; with `WEIGHT` if its rows have weights.
        reference: Columns of the reconstructed sample; the same.
        plan: How.
        seed: Of the training.
        digests: sha256 of the files that they come from.
        checkpoints: Folder in which an interrupted training left where it was, and will again.
        told: Called after each epoch, with the name of the chain.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    _on_one_thread()
    matched = match(generated, reference)
    condition = Condition.of(matched.particles)
    chains, described = {}, {}
    for problem in _problems(matched, condition):
        settings = getattr(plan, problem.name)
        checkpoint = checkpoints / f"{problem.name}.npz" if checkpoints else None
        chains[problem.name], described[problem.name] = _trained(problem, settings, seed, checkpoint, told)
    of_track = Condition.of(matched.truth)
    grid = Grid.fit(of_track)
    manifest = Manifest(
        format=FORMAT,
        version=__version__,
        origin=Origin(
            *digests,
            events=len(first_rows(matched.generated["event"])),
            particles=len(condition),
            tracks=len(of_track),
            seed=seed,
            versions={name: version(name) for name in ("jax", "numpy", "onnx", "optax")},
        ),
        ranges=Ranges.of(condition),
        accepted=(float(of_track.log_p.min()), float(of_track.eta.min()), float(of_track.eta.max())),
        degrees=_degrees(matched.tracks),
        chains=described,
        digests={},
    )
    return Models(manifest, chains, Event(fit_vertex(matched), fit_ghosts(matched, grid)))


def _on_one_thread() -> None:
    """Sums in an order that does not depend on the machine's cores; read by jax when it first computes."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")


def _problems(matched: Matched, condition: Condition) -> Sequence[Problem]:
    tracks, truth = matched.tracks, Condition.of(matched.truth)
    category = matched.category.astype(np.float64)
    weight, weight_tracks = _weight(matched.particles), _weight(matched.tracks)
    seen = np.concatenate([features(truth), one_hot(tracks["category"].astype(np.int8))], axis=1)
    names = (*FEATURES, *_CATEGORIES)
    variables, values = _track(matched, truth)
    residual = tracks["qop"] - truth.charge / 10**truth.log_p
    seen_measured = np.concatenate([seen, measured(truth, residual)], axis=1)
    outcome = (Classes.of("category", category),)
    event, event_tracks = matched.particles["event"], tracks["event"]
    return (
        Problem("category", FEATURES, features(condition), outcome, {"category": category}, event, weight),
        Problem("track", names, seen, variables, values, event_tracks, weight_tracks),
        Problem(
            "identification", (*names, *MEASURED), seen_measured, *_identification(tracks), event_tracks, weight_tracks
        ),
    )


def _weight(columns: Columns) -> Floats:
    weight = np.asarray(columns.get(WEIGHT, np.ones(len(columns["event"]))), dtype=np.float64)
    if weight.sum() <= 0:
        raise RequestError(f"weights: their sum is {weight.sum():.6g}, expected a positive one; check the mapping")
    return np.asarray(weight / np.abs(weight).mean())


def _track(matched: Matched, truth: Condition) -> tuple[tuple[Variable, ...], dict[str, Floats]]:
    """Hits first, then the errors that they leave, then what is in units of these."""
    tracks = matched.tracks
    line, z = true_states(matched.truth)
    step = z - tracks["z"]
    residual, covariance = moved(states(tracks), step) - line, moved_covariance(covariances(tracks), step)
    values = targets.encoded(residual, covariance, truth)
    values |= {name: tracks[name].astype(np.float64) for name in (*HITS, "ndf")}
    values["log chi2/ndf"] = np.log(np.maximum(tracks["chi2"] / np.maximum(tracks["ndf"], 1), 1e-6))
    ghost = np.clip(tracks["ghost_probability"], 1e-9, 1 - 1e-9)
    values["ghost log odds"] = np.log(ghost / (1 - ghost))
    counted = HITS if _degrees(tracks) else (*HITS, "ndf")
    return (
        *(Classes.of(name, values[name]) for name in counted),
        *(Continuous.of(name, values[name]) for name in _SMOOTH),
    ), values


def _degrees(tracks: Columns) -> tuple[float, ...]:
    """Constant and multiples of the hits that sum to ndf for all tracks; empty if there are none."""
    design = np.stack([np.ones(len(tracks["ndf"])), *(tracks[name] for name in HITS)], axis=1).astype(np.float64)
    found = np.rint(np.linalg.lstsq(design, tracks["ndf"].astype(np.float64), rcond=None)[0])
    return tuple(found.tolist()) if (design @ found == tracks["ndf"]).all() else ()


def _identification(tracks: Columns) -> tuple[tuple[Variable, ...], dict[str, Floats]]:
    """Which likelihoods there are at all, as a class, then is_muon, then the likelihoods that there are."""
    values = {name: np.asarray(tracks[name], dtype=np.float64) for name in (*PARTS, "is_muon")}
    there = np.stack([values[name] != 0 for name in PARTS], axis=1)
    patterns, pattern = np.unique(there, axis=0, return_inverse=True)
    values["likelihoods"] = pattern.ravel().astype(np.float64)
    variables: list[Variable] = [Classes.of(name, values[name]) for name in ("likelihoods", "is_muon")]
    for number, name in enumerate(PARTS):
        rows = there[:, number]
        present = tuple(bool(found) for found in patterns[:, number])
        variables.append(Continuous.of(name, values[name][rows] if rows.any() else np.zeros(1), "likelihoods", present))
    return tuple(variables), values


def _trained(
    problem: Problem, settings: Settings, seed: int, checkpoint: Path | None,
    told: Callable[[str, Settings, Progress], None],
) -> tuple[Chain, Described]:  # fmt: skip
    from flashlink.flashsim.learned.training.export import exported

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
    shape = Shape(len(problem.inputs), variables, settings.trunk, settings.head, settings.components)
    parameters, progress = fit(
        shape, settings, train, test, seed, checkpoint, lambda progress: told(problem.name, settings, progress)
    )
    model = exported(parameters, shape, mean, scale, bounds)
    trained = Trained(
        rows=(len(train.condition), len(test.condition)),
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        loss=progress.losses[progress.best_epoch - 1],
        trunk=settings.trunk,
        head=settings.head,
        components=settings.components,
    )
    return Chain(variables, shape.inputs, model), Described(problem.inputs, variables, trained)
