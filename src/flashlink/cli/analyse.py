"""``flashlink analyse``: candidates."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("reconstructed", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--generated",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Generated sample of the same events, to tell true candidates; repeatable.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Candidates to write, Parquet.")
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(
    reconstructed: tuple[Path, ...], generated: tuple[Path, ...], output: Path, record: Path | None
) -> None:  # fmt: skip
    """Make candidates of J/psi -> mu+ mu- and B+ -> J/psi K+ from the tracks of RECONSTRUCTED (Parquet)."""
    from dataclasses import asdict

    from flashlink import __version__
    from flashlink.flashsim.analyse import CANDIDATES, JPSI, READ, Selection, analyse
    from flashlink.flashsim.chunks import digests, read_chunks
    from flashlink.flashsim.files import write
    from flashlink.flashsim.matching import first_rows
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.samples import GENERATED

    with recording("analyse", record) as step:
        selection = Selection()
        tracks = read_chunks(reconstructed, READ)
        candidates = analyse(tracks, selection, read_chunks(generated, GENERATED) if generated else None)
        noted = {"step": "analyse", "version": __version__, "selection": asdict(selection)}
        write(output, candidates, CANDIDATES, noted | {"reconstructed": list(digests(reconstructed))})
        step.events, step.tracks = len(first_rows(tracks["event"])), len(tracks["event"])
        step.numbers["jpsi"] = int((candidates["pdg"] == JPSI).sum())
        step.numbers["b"] = int((candidates["pdg"] != JPSI).sum())
