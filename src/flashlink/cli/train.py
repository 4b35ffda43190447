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
@click.option("--photons", type=_FILE, multiple=True, help="Detailed sample of their photons; repeatable.")
@click.option("--mapping", type=_FILE, help="TOML file that says what the columns of files from elsewhere mean.")
@click.option("--plan", type=_FILE, help="TOML file of settings of the training: sizes of the networks, epochs, ….")
@click.option("--seed", type=int, required=True, help="Seed of the training.")
@click.option("--checkpoints", type=_FILE, help="Folder to go on from if the training was interrupted.")
@click.option("--only", multiple=True, help="Train this model alone, keep the others; repeatable.")
@click.option("--keep", type=_FILE, help="Folder of models from which the others come, with --only.")
@click.option("--output", type=_FILE, required=True, help="Folder of models to write.")
@click.option("--record", type=_FILE, help="Write what the step did and cost, as JSON.")
def command(
    generated: tuple[Path, ...], reference: tuple[Path, ...], photons: tuple[Path, ...], mapping: Path | None,
    plan: Path | None, seed: int, checkpoints: Path | None, only: tuple[str, ...], keep: Path | None, output: Path,
    record: Path | None,
) -> None:  # fmt: skip
    """Train the flash simulation's models: from the reference detector's samples, or from anybody's ROOT or Parquet.

    Give the training events that nothing else is made of. One event in ten decides when to stop. Needs
    flashlink[train].
    """
    from flashlink.flashsim.chunks import digests, read_chunks
    from flashlink.flashsim.learned.models import read, write
    from flashlink.flashsim.learned.training.learn import ALL, learn, read_plan
    from flashlink.flashsim.learned.training.mapping import read_samples
    from flashlink.flashsim.photons import calorimeter_z
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import PHOTONS

    if unknown := set(only) - set(ALL):
        raise click.BadParameter(f"{sorted(unknown)[0]!r} is none of {', '.join(ALL)}", param_hint="--only")
    if bool(only) != bool(keep):
        raise click.BadParameter("needs --keep, and that it", param_hint="--only")
    if {"photon", "cluster"} & set(only) and not photons:
        raise click.BadParameter("photon and cluster need --photons", param_hint="--only")
    with recording("train", record, seed) as step:
        settings = read_plan(plan)
        samples = read_samples(generated, reference, mapping)
        models = learn(
            *samples, settings, seed,
            photons=(read_chunks(photons, PHOTONS), calorimeter_z(photons[0])) if photons else None,
            digests=(digests(generated), digests(reference), digests(photons)),
            only=only or ALL, keep=read(keep) if keep else None, checkpoints=checkpoints, told=_tell,
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
