"""A search over settings with Optuna: workers that share nothing but its storage.

A worker is the same command, started as often and on as many machines as wanted. Each takes the next trial, tells
the validation loss after each epoch, and is stopped early where others were better (median pruning).
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.trial import TrialState

from flashlink.errors import RequestError
from flashlink.flashsim.learned.training.fit import Progress, Settings, fit
from flashlink.flashsim.learned.training.learn import Plan, Prepared, prepared, shape_of
from flashlink.flashsim.learned.training.problem import Problem
from flashlink.flashsim.learned.training.ranges import Choice, SearchPlan, draw, drawn
from flashlink.flashsim.learned.training.tracking import Run, tracked
from flashlink.flashsim.random import Stream

#: Seconds between signs of life of a trial, and after how many without one its worker counts as killed.
BEAT, GRACE = 20.0, 180.0

#: Trials that run to their end before any is stopped early, and epochs that each is given.
STARTUP, WARMUP = 4, 1

#: Of a trial: when its worker was last alive, in seconds since 1970, and the trial of a killed worker that it repeats.
_ALIVE, _REPEATS = "alive", "repeats"


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes:
        plan: The best settings so far.
        notes: Of each searched chain, in words: the loss, of how many trials.
        running: Trials that other workers have not ended, or were killed in.
    """

    plan: Plan
    notes: Mapping[str, str]
    running: int


@contextmanager
def storage_of(place: str) -> Iterator[optuna.storages.BaseStorage]:
    """Open Optuna's storage: a journal in a shared file, in Redis (``redis://…``), or a database (any other URL).

    Raises:
        RequestError: It cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield _opened(place)
    except ImportError as error:
        name = getattr(error.__cause__ or error, "name", None)
        raise RequestError(f"storage of the search: needs the Python package {name!r}; pip install it") from error
    except _errors() as error:
        # Its address may hold a password, so it is not told.
        reason = " ".join(str(error.__cause__ or error).split())[:160]
        raise RequestError(f"storage of the search: cannot be used ({reason}); give a file or a URL") from error


def _errors() -> tuple[type[Exception], ...]:
    """What storages raise."""
    from sqlalchemy.exc import SQLAlchemyError

    known = (SQLAlchemyError, optuna.exceptions.StorageInternalError, ValueError, OSError)
    try:
        from redis.exceptions import RedisError
    except ModuleNotFoundError:
        return known
    return (*known, RedisError)


def _opened(place: str) -> optuna.storages.BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, journal

    if place.startswith(("redis://", "rediss://")):
        with warnings.catch_warnings():
            # That its interface may change is ours to follow, not the user's.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return JournalStorage(journal.JournalRedisBackend(place))
    if "://" in place:
        return RDBStorage(place)
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(journal.JournalFileBackend(place))


def search(
    problems: Mapping[str, Problem], plan: SearchPlan, trials: int, seed: int, storage: optuna.storages.BaseStorage,
    checkpoints: Path | None, say: Callable[[str], None],
) -> Found:  # fmt: skip
    """Work on a search until it has `trials` trials of each chain, counted over all workers.

    A single worker finds the same for the same arguments, interrupted or not.

    Args:
        problems: What the chains learn, by name.
        plan: What is tried.
        trials: Of each chain; what other workers ran counts.
        seed: Of the draws and of each training.
        storage: Which the workers share.
        checkpoints: Folder in which the trial of a killed worker left where it was.
        say: Hears of each epoch and of the end of each trial, in a line.

    Raises:
        RequestError: No trial came to an end.
    """
    best, notes, running = {}, {}, 0
    for chain, choices in plan.search.items():
        work = _Work(problems[chain], prepared(problems[chain], seed), getattr(plan, chain), choices, seed, checkpoints)
        study = optuna.create_study(
            storage=storage, study_name=work.name, load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(STARTUP, WARMUP),
        )  # fmt: skip
        while trial := _next(study, work, trials):
            _try(study, trial, work, say)
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not ended:
            raise RequestError(f"search of {chain}: no trial came to an end with a finite loss; try smaller rates")
        first = study.best_trial
        best[chain] = work.settings(drawn(first.params, choices))
        tried = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
        notes[chain] = f"trial {first.number} of {tried}: validation loss {first.value:.4f}"
        running += len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)))
    kept = {chain: best.get(chain, getattr(plan, chain)) for chain in Plan.__struct_fields__}
    return Found(Plan(**kept), notes, running)


@dataclass(frozen=True)
class _Work:
    """What all trials of a chain share."""

    problem: Problem
    rows: Prepared
    stays: Settings
    choices: Mapping[str, Choice]
    seed: int
    checkpoints: Path | None

    @property
    def name(self) -> str:
        """Of the study; another sample, seed or range gives another, so that none mixes with it."""
        digest = hashlib.sha256(repr((self.stays, sorted(self.choices.items()), self.seed)).encode())
        for rows in (self.rows.train, self.rows.valid):
            for array in (rows.condition, rows.inside, rows.weight):
                digest.update(np.ascontiguousarray(array).tobytes())
        return f"flashlink {self.problem.name} {digest.hexdigest()[:16]}"

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """All settings of a trial, of those that were drawn."""
        return msgspec.convert(msgspec.to_builtins(self.stays) | values, Settings)

    def checkpoint(self, settings: Settings) -> Path | None:
        """The file in which a training with these settings leaves where it is."""
        if self.checkpoints is None:
            return None
        name = hashlib.sha256(f"{self.name} {settings}".encode()).hexdigest()[:16]
        return self.checkpoints / f"{self.problem.name}-trial-{name}.npz"


def _next(study: optuna.Study, work: _Work, wanted: int) -> optuna.Trial | None:
    """The next trial, a killed worker's first; None if there are enough."""
    for running in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if time.time() - running.user_attrs.get(_ALIVE, 0.0) > GRACE:
            _give_back(study, running.number, running.params)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if len(_counted(study)) >= wanted and not waiting:
        return None
    trial = study.ask()
    trial.set_user_attr(_ALIVE, time.time())
    if trial.number not in _counted(study)[:wanted]:
        # Another worker asked at the same time.
        study.tell(trial, state=TrialState.FAIL)
        return None
    # Drawn by its place alone, whoever draws it and after whatever interruption.
    place = sum(_REPEATS not in before.user_attrs for before in study.get_trials(deepcopy=False)[: trial.number])
    number = Stream(work.seed, f"search/{work.problem.name}").uniform(np.array([place]), 0, 1)[0, 0]
    study.sampler = optuna.samplers.TPESampler(seed=int(number * 2**32))
    return trial


def _counted(study: optuna.Study) -> list[int]:
    """Numbers of the trials that have ended or will."""
    return sorted(trial.number for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL)


def _give_back(study: optuna.Study, number: int, parameters: Mapping[str, Any]) -> None:
    """Let the settings of a trial that did not end be tried again."""
    try:
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return  # another worker was quicker
    study.enqueue_trial(dict(parameters), user_attrs={_REPEATS: number})


def _try(study: optuna.Study, trial: optuna.Trial, work: _Work, say: Callable[[str], None]) -> None:
    values = {name: draw(trial, name, choice) for name, choice in work.choices.items()}
    settings = work.settings(values)
    name = f"{work.problem.name} trial {trial.number}"
    say(f"{name}: {', '.join(f'{setting} {value}' for setting, value in values.items())}")
    checkpoint = work.checkpoint(settings)
    try:
        parameters = msgspec.to_builtins(settings) | {"seed": work.seed}
        with _signs_of_life(trial), tracked(name, parameters, say, {"study": study.study_name}) as run:
            progress = _run(trial, settings, work, checkpoint, _both(name, say, run))
            outcome = f"ended with {progress.best:.4f}" if progress else "stopped early, as others were better"
            run.tags["outcome"] = outcome
        best, state = (progress.best, None) if progress else (None, TrialState.PRUNED)
        lost = study.tell(trial, best, state, skip_if_finished=True).state == TrialState.FAIL
    except optuna.exceptions.UpdateFinishedTrialError:
        lost = True
    except BaseException:
        _give_back(study, trial.number, trial.params)
        raise
    if lost:
        outcome = "was given to another worker, since this one gave no sign of life"
    elif checkpoint:
        checkpoint.unlink(missing_ok=True)
    say(f"{name}: {outcome}")


def _both(name: str, say: Callable[[str], None], run: Run) -> Callable[[int, float], None]:
    def told(epoch: int, loss: float) -> None:
        say(f"{name}: epoch {epoch}, validation {loss:.4f}")
        run.metrics({"validation_loss": loss}, epoch)

    return told


def _run(
    trial: optuna.Trial, settings: Settings, work: _Work, checkpoint: Path | None, told: Callable[[int, float], None]
) -> Progress | None:  # fmt: skip
    """Train as a trial says; None if it was stopped early."""
    reported = 0

    def report(progress: Progress) -> None:
        nonlocal reported
        # A checkpoint of a killed worker has epochs of its own.
        for _, loss in progress.losses[reported:]:
            reported += 1
            trial.report(loss, reported)
            told(reported, loss)
        if not math.isfinite(progress.losses[-1][1]) or trial.should_prune():
            raise optuna.TrialPruned

    shape = shape_of(work.problem, settings)
    try:
        return fit(shape, settings, work.rows.train, work.rows.valid, work.seed, checkpoint, report)[1]
    except optuna.TrialPruned:
        return None


@contextmanager
def _signs_of_life(trial: optuna.Trial) -> Iterator[None]:
    """Note every `BEAT` seconds that the worker of a trial is alive, as an epoch may take long."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                trial.set_user_attr(_ALIVE, time.time())
            except Exception:  # noqa: S112 (a storage that is away for once may be back at the next)
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
