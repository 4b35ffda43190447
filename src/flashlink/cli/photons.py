"""``flashlink photons``: the calorimeter's clusters by the flash simulation."""

from __future__ import annotations

from pathlib import Path

import click

from flashlink.cli.invocation import invocation


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.option(
    "--parameterizations",
    type=click.Path(path_type=Path),
    help="What `flashlink train --photons` (a folder) or `flashlink parameterize --photons` (a file) wrote, instead of "
    "the learned models of the reference detector that come with flashlink.",
)
@click.option("--seed", type=int, required=True, help="Seed of the production.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Sample of clusters to write, Parquet.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(generated: Path, parameterizations: Path | None, seed: int, output: Path, record: Path | None) -> None:
    """Turn the photons of GENERATED into clusters of the calorimeter by the flash simulation."""
    from flashlink import __version__
    from flashlink.errors import wrong
    from flashlink.flashsim.chunks import batches
    from flashlink.flashsim.files import Columns, metadata, write_parts
    from flashlink.flashsim.matching import first_rows
    from flashlink.flashsim.photons import SIMULATED_PHOTONS, photons_of, simulate_photons
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED
    from flashlink.flashsim.simulate import read_parameterizations

    with recording("photons", record, seed) as step:
        learned, digest = read_parameterizations(parameterizations)
        known = learned.photons
        if known is None:
            advice = "give `flashlink parameterize` or `flashlink train` the reference detector's photons too"
            raise wrong(str(parameterizations), "parameterizations without photons", "some with them", advice)

        def simulated(particles: Columns) -> Columns:
            step.events += len(first_rows(particles["event"]))
            step.particles += len(photons_of(particles)["event"])
            return simulate_photons(particles, known, seed)

        noted = {"kind": "photons", "by": "flash", "seed": seed, "versions": {"flashlink": __version__}}
        noted["command"] = invocation()
        noted |= {"parameterizations": digest, "trained_on": list(learned.trained_on), "generated": metadata(generated)}
        clusters = map(simulated, batches([generated], GENERATED))
        step.numbers["clusters"] = write_parts(output, clusters, SIMULATED_PHOTONS, noted)
