"""``flashlink parameterize``: what the flash simulation learns."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--generated", type=click.Path(path_type=Path), required=True, multiple=True, help="Generated sample; repeatable."
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Sample of the reference detector, made from those; repeatable.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Tables to write, JSON.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
@click.option("--photons", type=click.Path(path_type=Path), multiple=True, help="Its sample of photons; repeatable.")
def command(
    generated: tuple[Path, ...], reference: tuple[Path, ...], photons: tuple[Path, ...], output: Path,
    record: Path | None,
) -> None:  # fmt: skip
    """Derive the flash simulation's tables from a reference sample.

    Give the training a seed of its own: tables that were derived from the events that they then simulate look better
    than they are. Several files: `--generated a.parquet --generated b.parquet`.
    """
    from dataclasses import replace

    import numpy as np

    from flashlink.flashsim.chunks import digests, event_numbers, read_chunks
    from flashlink.flashsim.parameterize import parameterize
    from flashlink.flashsim.photons import calorimeter_z, parameterize_photons
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED, PHOTONS, RECONSTRUCTED
    from flashlink.flashsim.tables import write

    with recording("parameterize", record) as step:
        tables = parameterize(
            read_chunks(generated, GENERATED),
            read_chunks(reference, RECONSTRUCTED),
            (digests(generated), digests(reference)),
        )
        if photons:
            clusters = read_chunks(photons, PHOTONS)
            # An event may have clusters and no track, or the other way round.
            events = np.union1d(event_numbers(reference), event_numbers(photons))
            particles = read_chunks(generated, GENERATED, events)
            tables = replace(tables, photons=parameterize_photons(particles, clusters, calorimeter_z(photons[0])))
        write(output, tables)
        training = tables.training
        step.events, step.particles, step.tracks = training.events, training.particles, training.tracks
