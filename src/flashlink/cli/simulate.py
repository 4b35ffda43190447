"""``flashlink simulate``: the flash simulation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.option(
    "--parameterizations",
    type=click.Path(path_type=Path),
    help="What `flashlink train` (a folder) or `flashlink parameterize` (a file) wrote, instead of the learned models "
    "of the reference detector that come with flashlink.",
)
@click.option("--seed", type=int, required=True, help="Seed of the production.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Reconstructed sample to write, Parquet."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    generated: Path, parameterizations: Path | None, seed: int, output: Path, record: Path | None
) -> None:  # fmt: skip
    """Turn the particles of GENERATED into reconstructed tracks by the flash simulation."""
    import time

    from flashlink.flashsim.chunks import read_chunks
    from flashlink.flashsim.files import metadata, write
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED
    from flashlink.flashsim.simulate import SIMULATED, provenance, read_parameterizations, simulate

    with recording("simulate", record, seed) as step:
        learned, digest = read_parameterizations(parameterizations)
        particles = read_chunks([generated], GENERATED)
        start = time.process_time()
        tracks = simulate(particles, learned, seed)
        step.numbers["detector_seconds"] = round(time.process_time() - start, 4)
        noted = provenance(learned, seed) | {"parameterizations": digest, "generated": metadata(generated)}
        write(output, tracks, SIMULATED, noted)
        step.events = len(set(particles["event"].tolist()))
        step.particles = int((particles["stable"] & (particles["charge"] != 0)).sum())
        step.tracks = len(tracks["event"])
        step.numbers["extrapolated"] = int(tracks["extrapolated"].sum())
    outside = int(tracks["extrapolated"].sum())
    if outside:
        share = f"{outside} of {len(tracks['event'])} tracks"
        click.echo(
            f"flashlink: {share} are of particles outside of what the training had; see `extrapolated`", err=True
        )
