"""``flashlink generate``: collisions with Pythia 8."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--events", type=int, required=True, help="How many collisions.")
@click.option(
    "--settings", type=click.Path(path_type=Path), help="File of Pythia settings, instead of pp -> b bbar at 13 TeV."
)
@click.option("--signal", type=int, help="PDG number of a particle that each event must have; 0 for any event.")
@click.option("--decay", multiple=True, help="Line of Pythia's for the decay of one such particle; repeatable.")
@click.option(
    "--first-event", type=int, default=0, show_default=True, help="Number of the first; give each chunk its own."
)
@click.option("--seed", type=int, required=True, help="Seed of the production, the same for all its chunks.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Generated sample to write, Parquet.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    events: int, first_event: int, seed: int, settings: Path | None, signal: int | None, decay: tuple[str, ...],
    output: Path, record: Path | None,
) -> None:  # fmt: skip
    """Generate collisions with Pythia 8, each with one B+ -> J/psi(mu+ mu-) K+ or its charge conjugate.

    Other signals: `--signal 531 --decay '531:onMode = off' --decay '531:onIfMatch = 333 22'`. The decay lines hold for
    one of the signal particles, the rest of the event is Pythia's own. With --settings and without --signal any event
    is taken as it is.
    """
    from flashlink.flashsim.files import write
    from flashlink.flashsim.generate import generate
    from flashlink.flashsim.pythia import B_TO_JPSI_K, Process, read_settings
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED

    with recording("generate", record, seed) as step:
        process = B_TO_JPSI_K
        if settings or signal is not None or decay:
            lines = read_settings(settings) if settings else process.settings
            process = Process(lines, signal or 0, decay)
        generated = generate(events, first_event, seed, process)
        write(output, generated.columns, GENERATED, generated.metadata)
        step.events = events
        step.particles = int(generated.columns["stable"].sum())
        step.numbers["tried"] = generated.tried
