"""``flashlink generate``: collisions with Pythia 8."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--events", type=int, required=True, help="How many collisions.")
@click.option(
    "--first-event", type=int, default=0, show_default=True, help="Number of the first; give each chunk its own."
)
@click.option("--seed", type=int, required=True, help="Seed of the production, the same for all its chunks.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Generated sample to write, Parquet.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(events: int, first_event: int, seed: int, output: Path, record: Path | None) -> None:
    """Generate collisions with Pythia 8, each with one B+ -> J/psi(mu+ mu-) K+ or its charge conjugate."""
    from flashlink.flashsim.files import write
    from flashlink.flashsim.generate import generate
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED

    with recording("generate", record, seed) as step:
        generated = generate(events, first_event, seed)
        write(output, generated.columns, GENERATED, generated.metadata)
        step.events = events
        step.particles = int(generated.columns["stable"].sum())
        step.numbers["tried"] = generated.tried
