"""The training of one chain: minibatches, early stop, checkpoints from which it goes on."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpy.typing as npt
import optax

from flashlink.errors import wrong
from flashlink.flashsim.files import replacing
from flashlink.flashsim.learned.training.network import Parameters, Shape, initial, log_likelihood, see

Floats = npt.NDArray[np.float64]

#: Loss of a batch: of parameters, and of what `_batch` gives.
_Loss = Callable[..., jax.Array]

Count = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a chain is trained.

    Attributes:
        trunk: Widths of the layers that all variables share.
        head: Width of the layer of each variable's own.
        components: Of each mixture.
        epochs: Passes over the training rows, at most.
        patience: Epochs without a better validation before it stops.
        batch: Rows of a step.
        rate: Learning rate at the beginning; it falls to nothing as a cosine.
        classes: How often the likelihood of variables of classes counts. What is rare tells little by itself: without
            such a weight it is left as the variables with densities need the layers that all share.
    """

    trunk: tuple[Count, ...] = (192, 128, 64)
    head: Count = 32
    components: Count = 6
    epochs: Count = 8
    patience: Count = 3
    batch: Count = 2048
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 2e-3
    classes: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0


@dataclass(frozen=True)
class Rows:
    """Rows to train on or to validate with.

    Attributes:
        condition: Scaled features, shape (rows, inputs).
        inside: Encoded variables, NaN where absent, shape (rows, variables).
        weight: Of each row, shape (rows,); may be negative.
    """

    condition: npt.NDArray[np.float32]
    inside: Floats
    weight: npt.NDArray[np.float32]


@dataclass
class Progress:
    """How far a training is; what a checkpoint holds besides the parameters.

    Attributes:
        epoch: Epochs that are done.
        best: Least validation loss so far.
        best_epoch: After which epoch.
        losses: Training and validation loss of each epoch.
    """

    epoch: int
    best: float
    best_epoch: int
    losses: list[tuple[float, float]]


def fit(
    shape: Shape, settings: Settings, train: Rows, valid: Rows, seed: int, checkpoint: Path | None = None,
    told: Callable[[Progress], None] = lambda _: None,
) -> tuple[dict[str, npt.NDArray[np.float32]], Progress]:  # fmt: skip
    """Train a network; the same arguments give the same parameters, interrupted or not.

    Args:
        shape: The network.
        settings: How.
        train: What to learn from.
        valid: What tells when to stop.
        seed: Of the first parameters and of the order of the rows.
        checkpoint: File to go on from, if it is there, and to write after each epoch.
        told: Called after each epoch, and once for all of them that the checkpoint has.

    Returns:
        The parameters of the epoch with the least validation loss, and how it went.

    Raises:
        RequestError: The checkpoint is not whole, or of another training.
    """
    steps = max(len(train.condition) // settings.batch, 1)
    optimizer = _optimizer(settings, steps)
    parameters: Parameters = {name: jnp.asarray(value) for name, value in initial(shape, seed).items()}
    state, best = optimizer.init(parameters), parameters
    progress = Progress(0, np.inf, 0, [])
    mark = _mark(shape, settings, train, seed)
    if checkpoint is not None and checkpoint.exists():
        (parameters, best, state), progress = _load(checkpoint, mark, (parameters, best, state))
        told(progress)
    seen, seen_valid = see(shape, train.inside), see(shape, valid.inside)
    loss = _loss(shape, settings.classes)
    step, measured = _step(loss, optimizer), jax.jit(loss)
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        order = np.random.default_rng([seed, 2, progress.epoch]).permutation(len(train.condition))
        total = 0.0
        for number in range(steps):
            rows = order[number * settings.batch : (number + 1) * settings.batch]
            parameters, state, value = step(parameters, state, *_batch(train, seen, rows))
            total += float(value)
        progress.epoch += 1
        progress.losses.append((total / steps, _validation(measured, parameters, valid, seen_valid, settings.batch)))
        if progress.losses[-1][1] < progress.best:
            best, progress.best, progress.best_epoch = parameters, progress.losses[-1][1], progress.epoch
        if checkpoint is not None:
            _save(checkpoint, mark, (parameters, best, state), progress)
        told(progress)
    return {name: np.asarray(value) for name, value in best.items()}, progress


def _optimizer(settings: Settings, steps: int) -> optax.GradientTransformation:
    """Adam, with a rate that falls over all epochs of so many steps, and without the leaps of a single batch."""
    return optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.adam(optax.cosine_decay_schedule(settings.rate, steps * settings.epochs, alpha=0.005)),
    )


def _loss(shape: Shape, classes: float) -> _Loss:
    """The mean of minus the weighted log-likelihood of a batch, that of classes so many times."""
    times = np.where(shape.continuous, 1.0, classes).astype(np.float32)

    def loss(parameters: Parameters, *rows: jax.Array) -> jax.Array:
        condition, seen, inside, weight = rows
        found = log_likelihood(parameters, shape, condition, seen, inside) * times
        return -(weight * found.sum(axis=1)).mean()

    return loss


def _step(loss: _Loss, optimizer: optax.GradientTransformation) -> Callable[..., tuple[Parameters, Any, jax.Array]]:
    """One step of the training: parameters, state of the optimizer and a batch become the next ones and the loss."""

    @jax.jit
    def step(parameters: Parameters, state: Any, *rows: jax.Array) -> tuple[Parameters, Any, jax.Array]:
        value, slope = jax.value_and_grad(loss)(parameters, *rows)
        change, state = optimizer.update(slope, state, parameters)
        return optax.apply_updates(parameters, change), state, value

    return step


def _batch(rows: Rows, seen: npt.NDArray[Any], which: npt.NDArray[np.int64] | slice) -> tuple[npt.NDArray[Any], ...]:
    """What `_loss` takes of some of the rows."""
    return rows.condition[which], seen[which], rows.inside[which].astype(np.float32), rows.weight[which]


def _validation(
    measured: _Loss, parameters: Parameters, valid: Rows, seen: npt.NDArray[Any], batch: int
) -> float:  # fmt: skip
    """The mean loss of all rows of the validation, batch by batch."""
    total = 0.0
    for start in range(0, len(valid.condition), batch):
        some = _batch(valid, seen, slice(start, start + batch))
        total += float(measured(parameters, *some)) * len(some[0])
    return total / len(valid.condition)


def _mark(shape: Shape, settings: Settings, train: Rows, seed: int) -> str:
    """What tells one training from another."""
    digest = hashlib.sha256(repr((shape, settings, seed)).encode())
    for array in (train.condition, train.inside, train.weight):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save(path: Path, mark: str, tree: Any, progress: Progress) -> None:
    leaves = {f"leaf {number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(tree))}
    note = msgspec.json.encode({"mark": mark, "progress": asdict(progress)}).decode()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, note=np.array(note), **leaves)


def _load(path: Path, mark: str, like: Any) -> tuple[Any, Progress]:
    advice = "remove it to train from the beginning"
    try:
        with np.load(path, allow_pickle=False) as held:
            note = msgspec.json.decode(str(held["note"]))
            leaves, tree = jax.tree.flatten(like)
            found = [jnp.asarray(held[f"leaf {number}"]) for number in range(len(leaves))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise wrong(f"checkpoint {path}", str(error), "a whole checkpoint", advice) from error
    if note["mark"] != mark:
        raise wrong(f"checkpoint {path}", note["mark"][:12], f"one of this training, {mark[:12]}", advice)
    return jax.tree.unflatten(tree, found), msgspec.convert(note["progress"], Progress)
