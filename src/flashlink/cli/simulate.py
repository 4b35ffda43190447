"""``flashlink simulate``: the flash simulation."""

from __future__ import annotations

from pathlib import Path

import click

from flashlink.cli.invocation import invocation


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
@click.option(
    "--times",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Use each event so often (oversampling).",
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    generated: Path, parameterizations: Path | None, seed: int, output: Path, times: int, record: Path | None
) -> None:  # fmt: skip
    """Turn the particles of GENERATED into reconstructed tracks by the flash simulation."""
    import time

    import numpy as np

    from flashlink.flashsim.files import Columns, metadata, write_parts
    from flashlink.flashsim.matching import first_rows
    from flashlink.flashsim.oversampling import WEIGHT, copies
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.simulate import SIMULATED, provenance, read_parameterizations, simulate

    with recording("simulate", record, seed) as step:
        learned, digest = read_parameterizations(parameterizations)
        step.numbers = {"detector_seconds": 0.0, "extrapolated": 0}

        def simulated(particles: Columns) -> Columns:
            start = time.process_time()
            tracks = simulate(particles, learned, seed)
            step.numbers["detector_seconds"] += time.process_time() - start
            step.events += len(first_rows(particles["event"]))
            step.particles += int((particles["stable"] & (particles["charge"] != 0)).sum())
            step.numbers["extrapolated"] += int(tracks["extrapolated"].sum())
            return tracks | {"weight": np.full(len(tracks["event"]), 1 / times)}

        noted = provenance(learned, seed) | {"parameterizations": digest, "generated": metadata(generated)}
        noted["command"] = invocation()
        if times > 1:
            noted["times"] = times
        schema = SIMULATED | (WEIGHT if times > 1 else {})
        step.tracks = write_parts(output, map(simulated, copies([generated], times)), schema, noted)
    if step.numbers["extrapolated"]:
        share = f"{step.numbers['extrapolated']} of {step.tracks} tracks"
        click.echo(
            f"flashlink: {share} are of particles outside of what the training had; see `extrapolated`", err=True
        )
