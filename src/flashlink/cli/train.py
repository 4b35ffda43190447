"""``flashlink train``: learned models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flashlink.flashsim.learned.training.fit import Progress, Settings

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--generated", type=_FILE, required=True, multiple=True, help="Generated sample; repeatable.")
@click.option("--reference", type=_FILE, required=True, multiple=True, help="Detailed sample of those; repeatable.")
@click.option("--mapping", type=_FILE, help="TOML file that says what the columns of files from elsewhere mean.")
@click.option("--plan", type=_FILE, help="TOML file of settings of the training: sizes of the networks, epochs, ….")
@click.option("--seed", type=int, required=True, help="Seed of the training.")
@click.option("--checkpoints", type=_FILE, help="Folder to go on from if the training was interrupted.")
@click.option("--output", type=_FILE, required=True, help="Folder of models to write.")
@click.option("--record", type=_FILE, help="Write what the step did and cost, as JSON.")
def command(
    generated: tuple[Path, ...], reference: tuple[Path, ...], mapping: Path | None, plan: Path | None, seed: int,
    checkpoints: Path | None, output: Path, record: Path | None,
) -> None:  # fmt: skip
    """Train the flash simulation's models: from the reference detector's samples, or from anybody's ROOT or Parquet.

    Give the training events that nothing else is made of. One event in ten decides when to stop. Needs
    flashlink[train].
    """
    from flashlink.flashsim.chunks import digests
    from flashlink.flashsim.learned.models import write
    from flashlink.flashsim.learned.training.learn import learn, read_plan
    from flashlink.flashsim.learned.training.mapping import read_samples
    from flashlink.flashsim.records import recording

    with recording("train", record, seed) as step:
        settings = read_plan(plan)
        samples = read_samples(generated, reference, mapping)
        models = learn(
            *samples, settings, seed,
            digests=(digests(generated), digests(reference)), checkpoints=checkpoints, told=_tell,
        )  # fmt: skip
        write(output, models)
        origin = models.manifest.origin
        step.events, step.particles, step.tracks = origin.events, origin.particles, origin.tracks
        for name, described in models.manifest.chains.items():
            step.numbers[f"{name} validation loss"] = described.trained.loss[1]


def _tell(name: str, settings: Settings, progress: Progress) -> None:
    train, valid = progress.losses[-1]
    best = ", the best so far" if progress.best_epoch == progress.epoch else ""
    click.echo(
        f"{name}: epoch {progress.epoch} of at most {settings.epochs}, loss {train:.4f}, validation {valid:.4f}{best}",
        err=True,
    )
