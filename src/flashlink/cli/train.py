"""``flashlink train``: learned models, and the search for the settings that they are trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flashlink.flashsim.files import Columns
    from flashlink.flashsim.learned.training.fit import Progress, Settings
    from flashlink.flashsim.learned.training.learn import Plan
    from flashlink.flashsim.learned.training.tracking import Run

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
@click.option("--search", type=_FILE, help="TOML file of settings to try; --output is then the best plan, TOML.")
@click.option("--trials", type=click.IntRange(1), default=50, show_default=True, help="Trials of a search, a chain.")
@click.option(
    "--storage", envvar="FLASHLINK_SEARCH_STORAGE", show_envvar=True,
    help="What the workers of a search share: a file or a URL of Optuna's. By default search.journal in --checkpoints.",
)  # fmt: skip
@click.option("--output", type=_FILE, required=True, help="Folder of models to write.")
@click.option("--record", type=_FILE, help="Write what the step did and cost, as JSON.")
def command(
    generated: tuple[Path, ...], reference: tuple[Path, ...], photons: tuple[Path, ...], mapping: Path | None,
    plan: Path | None, seed: int, checkpoints: Path | None, only: tuple[str, ...], keep: Path | None,
    search: Path | None, trials: int, storage: str | None, output: Path, record: Path | None,
) -> None:  # fmt: skip
    """Train the flash simulation's models: from the reference detector's samples, or from anybody's ROOT or Parquet.

    Give the training events that nothing else is made of. One event in ten decides when to stop. With --search, find
    the settings to train with: the same command, started several times on machines that share the storage, are several
    workers. Metrics go to MLflow too where MLFLOW_TRACKING_URI is set. Needs flashlink[train].
    """
    from flashlink.flashsim.chunks import digests, read_chunks
    from flashlink.flashsim.learned.models import read, write
    from flashlink.flashsim.learned.training.learn import ALL, learn, read_plan
    from flashlink.flashsim.learned.training.tracking import tracked
    from flashlink.flashsim.mapping import read_samples
    from flashlink.flashsim.photons import calorimeter_z
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import PHOTONS

    if unknown := set(only) - set(ALL):
        raise click.BadParameter(f"{sorted(unknown)[0]!r} is none of {', '.join(ALL)}", param_hint="--only")
    if bool(only) != bool(keep):
        raise click.BadParameter("needs --keep, and that it", param_hint="--only")
    if {"photon", "cluster"} & set(only) and not photons:
        raise click.BadParameter("photon and cluster need --photons", param_hint="--only")
    if search and (plan or only):
        raise click.BadParameter(
            "says what is trained and what stays; leave out --plan and --only", param_hint="--search"
        )
    if search and not (storage or checkpoints):
        raise click.BadParameter("needs --storage, or --checkpoints for a journal in there", param_hint="--search")
    with recording("train", record, seed) as step:
        settings = read_plan(plan)
        samples = read_samples(generated, reference, mapping)
        clusters = (read_chunks(photons, PHOTONS), calorimeter_z(photons[0])) if photons else None
        if search:
            place = storage or str(checkpoints / "search.journal" if checkpoints else "")
            step.numbers["trials"] = trials
            _search((*samples, clusters), search, trials, seed, place, checkpoints, output)
            return
        with tracked(output.name, _parameters(settings) | {"seed": seed}, _say) as run:
            models = learn(
                *samples, settings, seed, photons=clusters,
                digests=(digests(generated), digests(reference), digests(photons)), only=only or ALL,
                keep=read(keep) if keep else None, checkpoints=checkpoints, told=_told(output / "metrics.csv", run),
            )  # fmt: skip
            write(output, models)
            run.keep(output)
        origin = models.manifest.origin
        step.events, step.particles, step.tracks = origin.events, origin.particles, origin.tracks
        for name, described in models.manifest.chains.items():
            step.numbers[f"{name} validation loss"] = described.trained.loss[1]


def _told(metrics: Path, run: Run) -> Callable[[str, Settings, Progress], None]:
    """What hears of each epoch, and tells the terminal, the file of metrics and MLflow."""
    from flashlink.flashsim.learned.training.tracking import write_metrics

    losses: dict[str, list[tuple[float, float]]] = {}

    def told(chain: str, settings: Settings, progress: Progress) -> None:
        best = ", the best so far" if progress.best_epoch == progress.epoch else ""
        train, valid = progress.losses[-1]
        of = f"epoch {progress.epoch} of at most {settings.epochs}"
        _say(f"{chain}: {of}, loss {train:.4f}, validation {valid:.4f}{best}")
        before = len(losses.get(chain, ()))
        losses[chain] = list(progress.losses)
        write_metrics(metrics, losses)
        for epoch, (train, valid) in enumerate(progress.losses[before:], start=before + 1):
            run.metrics({f"{chain}/training_loss": train, f"{chain}/validation_loss": valid}, epoch)

    return told


def _search(
    samples: tuple[Columns, Columns, tuple[Columns, float] | None], ranges: Path, trials: int, seed: int, place: str,
    checkpoints: Path | None, output: Path,
) -> None:  # fmt: skip
    from flashlink.flashsim.files import replacing
    from flashlink.flashsim.learned.training.learn import problems_of
    from flashlink.flashsim.learned.training.ranges import plan_text, read_ranges
    from flashlink.flashsim.learned.training.search import search, storage_of

    plan = read_ranges(ranges)
    if {"photon", "cluster"} & set(plan.search) and not samples[2]:
        raise click.BadParameter("photon and cluster need --photons", param_hint="--search")
    problems = {problem.name: problem for problem in problems_of(*samples, only=plan.search).problems}
    with storage_of(place) as storage:
        found = search(problems, plan, trials, seed, storage, checkpoints, _say)
    with replacing(output) as temporary:
        temporary.write_text(plan_text(found.plan, found.notes))
    for chain, note in found.notes.items():
        _say(f"{chain}: the best is {note}")
    if found.running:
        _say(f"{found.running} trials are still with other workers; the last of them to end writes the best of all")


def _parameters(plan: Plan) -> dict[str, Any]:
    """The settings of all chains, by name."""
    import msgspec

    chains: dict[str, dict[str, Any]] = msgspec.to_builtins(plan)
    return {f"{chain}/{name}": value for chain, settings in chains.items() for name, value in settings.items()}


def _say(line: str) -> None:
    click.echo(line, err=True)
