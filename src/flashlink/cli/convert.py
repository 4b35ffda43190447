"""``flashlink convert``: take events of other generators in, join samples, and write them for analysis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click


@click.command()
@click.argument("samples", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="File to write: .root (TTree tracks) or .parquet."
)
@click.option("--signal", type=int, default=0, help="Of HepMC files: PDG number of a particle to keep with its decays.")
@click.option("--first-event", type=int, default=0, help="Of HepMC files: number of the first collision.")
@click.option(
    "--names", type=click.Choice(["flashlink", "lhcb"]), default="flashlink", help="Of the columns in a ROOT file."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    samples: tuple[Path, ...], output: Path, signal: int, first_event: int, names: str, record: Path | None
) -> None:
    """Join SAMPLES (Parquet, of one kind) in the order given and write them as Parquet or ROOT.

    HepMC files (2 or 3, also compressed) become one generated sample, each of their collisions an event.
    """
    from flashlink.errors import wrong
    from flashlink.flashsim.files import join
    from flashlink.flashsim.lhcb import NAMES
    from flashlink.flashsim.records import recording

    with recording("convert", record) as step:
        if _is_hepmc(samples[0]):
            if output.suffix != ".parquet":
                raise wrong("--output", str(output), "a file name that ends with .parquet, as HepMC files become")
            step.events, step.particles = _take_in(samples, output, signal, first_event)
            return
        joined = join(samples, output, NAMES if names == "lhcb" else {})
        step.events = joined.events
        step.numbers["rows"] = joined.rows


def _is_hepmc(path: Path) -> bool:
    from flashlink.flashsim.hepmc import is_hepmc

    return is_hepmc(path)


def _take_in(paths: tuple[Path, ...], output: Path, signal: int, first_event: int) -> tuple[int, int]:
    """Write the events of HepMC files as a generated sample; returns its events and particles."""
    import numpy as np

    from flashlink import __version__
    from flashlink.flashsim.chunks import digests
    from flashlink.flashsim.files import Columns, write_parts
    from flashlink.flashsim.hepmc import read_hepmc
    from flashlink.flashsim.samples import GENERATED

    events = 0

    def parts(first: int) -> Iterator[Columns]:
        nonlocal events
        for path in paths:
            for part in read_hepmc(path, signal, first):
                yield part
                events += len(np.unique(part["event"]))
                first = int(part["event"].max(initial=first - 1)) + 1

    noted = {
        "kind": "generated",
        "hepmc": list(digests(paths)),
        "signal": signal,
        "versions": {"flashlink": __version__},
    }
    rows = write_parts(output, parts(first_event), GENERATED, noted)
    return events, rows
