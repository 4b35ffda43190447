"""``flashlink simulate``: the flash simulation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.option("--tables", type=click.Path(path_type=Path), required=True, help="What `flashlink parameterize` wrote.")
@click.option("--seed", type=int, required=True, help="Seed of the production.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Reconstructed sample to write, Parquet."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(generated: Path, tables: Path, seed: int, output: Path, record: Path | None) -> None:
    """Turn the particles of GENERATED into reconstructed tracks by the flash simulation."""
    import time

    from flashlink.flashsim.chunks import digests, read_chunks
    from flashlink.flashsim.files import metadata, write
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED
    from flashlink.flashsim.simulate import SIMULATED, provenance, simulate
    from flashlink.flashsim.tables import read

    with recording("simulate", record, seed) as step:
        parameterizations = read(tables)
        particles = read_chunks([generated], GENERATED)
        start = time.process_time()
        tracks = simulate(particles, parameterizations, seed)
        step.numbers["detector_seconds"] = round(time.process_time() - start, 4)
        noted = provenance(parameterizations, seed) | {"tables": digests([tables])[0], "generated": metadata(generated)}
        write(output, tracks, SIMULATED, noted)
        step.events = len(set(particles["event"].tolist()))
        step.particles = int((particles["stable"] & (particles["charge"] != 0)).sum())
        step.tracks = len(tracks["event"])
        step.numbers["extrapolated"] = int(tracks["extrapolated"].sum())
