"""``flashlink convert``: take events of other generators in, join samples, and write them for analysis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flashlink.cli.invocation import invocation

if TYPE_CHECKING:
    from flashlink.flashsim.files import Columns


@click.command()
@click.argument("samples", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write: .root (TTree tracks, particles or photons) or .parquet.",
)
@click.option("--signal", type=int, default=0, help="Of HepMC files: PDG number of a particle to keep with its decays.")
@click.option("--first-event", type=int, default=0, help="Of HepMC files: number of the first collision.")
@click.option(
    "--names", type=click.Choice(["flashlink", "lhcb"]), default="flashlink", help="Of the columns in a ROOT file."
)
@click.option(
    "--mapping", type=click.Path(path_type=Path), help="TOML file that says what the columns of ROOT or Parquet mean."
)
@click.option(
    "--kind", type=click.Choice(["generated", "reference"]), default="generated", show_default=True,
    help="Of samples with a mapping: the section that holds for them.",
)  # fmt: skip
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    samples: tuple[Path, ...], output: Path, signal: int, first_event: int, names: str, mapping: Path | None, kind: str,
    record: Path | None,
) -> None:  # fmt: skip
    """Join SAMPLES (Parquet, of one kind) in the order given and write them as Parquet or ROOT.

    HepMC files (2 or 3, also compressed) become one generated sample, each of their collisions an event. With
    --mapping, ROOT or Parquet files from elsewhere become a generated sample, or one of reconstructed tracks.
    """
    from flashlink.errors import wrong
    from flashlink.flashsim.files import join
    from flashlink.flashsim.lhcb import names_of
    from flashlink.flashsim.records import recording

    with recording("convert", record) as step:
        if mapping or _is_hepmc(samples[0]):
            if output.suffix != ".parquet":
                raise wrong(
                    "--output", str(output), "a file name that ends with .parquet, as files from elsewhere become"
                )
            taken = _mapped(samples, mapping, kind) if mapping else _hepmc(samples, signal, first_event)
            step.events, step.particles = _take_in(output, *taken)
            return
        joined = join(samples, output, names_of if names == "lhcb" else None)
        step.events = joined.events
        step.numbers["rows"] = joined.rows


#: A sample in pieces, its columns and what to note of it.
_Taken = tuple["Iterator[Columns]", "dict[str, str]", "dict[str, Any]"]


def _is_hepmc(path: Path) -> bool:
    from flashlink.flashsim.hepmc import is_hepmc

    return is_hepmc(path)


def _mapped(paths: tuple[Path, ...], mapping: Path, kind: str) -> _Taken:
    from flashlink.flashsim.chunks import digests
    from flashlink.flashsim.mapping import read_mapping, take_in
    from flashlink.flashsim.oversampling import WEIGHT
    from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED

    schema = GENERATED if kind == "generated" else RECONSTRUCTED
    if getattr(read_mapping(mapping), kind).weight:
        schema = schema | WEIGHT
    noted = {"kind": kind, "mapped": list(digests(paths)), "mapping": mapping.read_text()}
    return take_in(paths, mapping, kind), schema, noted


def _hepmc(paths: tuple[Path, ...], signal: int, first_event: int) -> _Taken:

    from flashlink.flashsim.chunks import digests
    from flashlink.flashsim.hepmc import read_hepmc
    from flashlink.flashsim.samples import GENERATED

    def parts() -> Iterator[Columns]:
        first = first_event
        for path in paths:
            for part in read_hepmc(path, signal, first):
                yield part
                first = int(part["event"].max(initial=first - 1)) + 1

    return parts(), GENERATED, {"kind": "generated", "hepmc": list(digests(paths)), "signal": signal}


def _take_in(
    output: Path, parts: Iterator[Columns], schema: dict[str, str], noted: dict[str, Any]
) -> tuple[int, int]:  # fmt: skip
    """Write a sample from elsewhere; returns its events and rows."""
    from flashlink import __version__
    from flashlink.flashsim.files import write_parts
    from flashlink.flashsim.matching import first_rows

    events = 0

    def counted() -> Iterator[Columns]:
        nonlocal events
        for part in parts:
            events += len(first_rows(part["event"]))
            yield part

    noted = noted | {"versions": {"flashlink": __version__}, "command": invocation()}
    rows = write_parts(output, counted(), schema, noted)
    return events, rows
