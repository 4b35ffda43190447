"""``flashlink generate``: collisions with Pythia 8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from flashlink.cli.invocation import invocation


@click.command()
@click.option("--events", type=int, required=True, help="How many collisions.")
@click.option(
    "--settings", type=click.Path(path_type=Path), help="File of Pythia settings, instead of pp -> b bbar at 13 TeV."
)
@click.option("--signal", type=int, help="PDG number of a particle that each event must have; 0 for any event.")
@click.option("--decay", multiple=True, help="Line of Pythia's for the decay of one such particle; repeatable.")
@click.option("--gun", type=click.Choice(["11", "13", "211", "321", "2212", "22"]), help="Fire such particles instead.")
@click.option("--gun-p", type=(float, float), default=(2e3, 1e5), show_default=True, help="Their momenta, MeV.")
@click.option("--gun-eta", type=(float, float), default=(2.0, 5.0), show_default=True, help="Their pseudorapidities.")
@click.option("--gun-particles", type=int, default=50, show_default=True, help="How many of them in an event.")
@click.option(
    "--first-event", type=int, default=0, show_default=True, help="Number of the first; give each chunk its own."
)
@click.option("--seed", type=int, required=True, help="Seed of the production, the same for all its chunks.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Generated sample to write, Parquet.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    events: int, first_event: int, seed: int, settings: Path | None, signal: int | None, decay: tuple[str, ...],
    gun: str | None, gun_p: tuple[float, float], gun_eta: tuple[float, float], gun_particles: int,
    output: Path, record: Path | None,
) -> None:  # fmt: skip
    """Generate collisions with Pythia 8, each with one B+ -> J/psi(mu+ mu-) K+ or its charge conjugate.

    Other signals: `--signal 531 --decay '531:onMode = off' --decay '531:onIfMatch = 333 22'`. The decay lines hold for
    one of the signal particles, the rest of the event is Pythia's own. With --settings and without --signal any event
    is taken as it is. With --gun there is no collision, but particles and antiparticles from a beam spot, even in
    pseudorapidity and in the logarithm of the momentum.
    """
    _check_options(gun, {"settings", "signal", "decay"}, {"gun_p", "gun_eta", "gun_particles"})
    from flashlink.flashsim.files import Columns, write_parts
    from flashlink.flashsim.generate import Production
    from flashlink.flashsim.gun import fire_events
    from flashlink.flashsim.pythia import B_TO_JPSI_K, Process, read_settings
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED

    with recording("generate", record, seed) as step:
        step.events = events

        def counted(parts: Iterator[Columns]) -> Iterator[Columns]:
            for part in parts:
                step.particles += int(part["stable"].sum())
                yield part

        if gun:
            fired = fire_events(
                events, int(gun), gun_p, gun_eta, seed, first_event=first_event, per_event=gun_particles
            )
            write_parts(output, counted(fired.parts), GENERATED, fired.metadata | {"command": invocation()})
            return
        process = B_TO_JPSI_K
        if settings or signal is not None or decay:
            lines = read_settings(settings) if settings else process.settings
            process = Process(lines, signal or 0, decay)
        production = Production(events, first_event, seed, process)
        write_parts(output, counted(production.parts()), GENERATED, production.metadata | {"command": invocation()})
        step.numbers["tried"] = production.tried


def _check_options(gun: str | None, of_collisions: set[str], of_guns: set[str]) -> None:
    """Refuse options that would be left out of account."""
    context = click.get_current_context()
    needless = of_collisions if gun else of_guns
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name in needless:
            text = "is of collisions; leave it out with --gun" if gun else "says what a gun fires; give --gun too"
            raise click.BadParameter(text, param_hint=parameter.opts[0])
