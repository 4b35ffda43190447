"""``flashlink reference``: the detailed reference detector."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.option("--seed", type=int, required=True, help="Seed of the production.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Reconstructed sample to write, Parquet."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(generated: Path, seed: int, output: Path, record: Path | None) -> None:
    """Simulate and reconstruct the particles of GENERATED in the detailed reference detector."""
    import numpy as np

    from flashlink.flashsim.files import metadata, read, write
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.reference import reconstruct
    from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

    with recording("reference", record, seed) as step:
        particles = read(generated, GENERATED)
        tracks, noted = reconstruct(particles, seed)
        write(output, tracks, RECONSTRUCTED, {**noted, "generated": metadata(generated)})
        step.events = len(np.unique(particles["event"]))
        step.particles = int(particles["stable"].sum())
        step.tracks = len(tracks["event"])
