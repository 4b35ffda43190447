"""``flashlink reference``: the detailed reference detector."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from flashlink.cli.invocation import invocation


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.option("--seed", type=int, required=True, help="Seed of the production.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Reconstructed sample to write, Parquet."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
@click.option(
    "--photons", type=click.Path(path_type=Path), help="Sample of calorimeter clusters to write too, Parquet."
)
def command(generated: Path, seed: int, output: Path, record: Path | None, photons: Path | None) -> None:
    """Simulate and reconstruct the particles of GENERATED in the detailed reference detector."""
    import time

    from flashlink.flashsim.chunks import batches
    from flashlink.flashsim.files import Columns, metadata, write_parts
    from flashlink.flashsim.matching import first_rows
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.reference import provenance, reconstruct
    from flashlink.flashsim.reference.geometry import default_geometry
    from flashlink.flashsim.reference.photons import reconstruct_photons
    from flashlink.flashsim.samples import GENERATED, PHOTONS, RECONSTRUCTED

    with recording("reference", record, seed) as step:
        step.numbers["detector_seconds"] = 0.0

        def reconstructed(particles: Columns) -> Columns:
            start = time.process_time()
            tracks = reconstruct(particles, seed)[0]
            step.numbers["detector_seconds"] += time.process_time() - start
            step.events += len(first_rows(particles["event"]))
            step.particles += int((particles["stable"] & (particles["charge"] != 0)).sum())
            return tracks

        noted = provenance(seed) | {"generated": metadata(generated), "command": invocation()}
        step.tracks = write_parts(output, map(reconstructed, batches([generated], GENERATED)), RECONSTRUCTED, noted)
        if photons:
            clusters = map(partial(reconstruct_photons, seed=seed), batches([generated], GENERATED))
            noted["calorimeter_z"] = default_geometry().calorimeter.z
            step.numbers["clusters"] = write_parts(photons, clusters, PHOTONS, noted)
