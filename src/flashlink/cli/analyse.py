"""``flashlink analyse``: candidates."""

from __future__ import annotations

from pathlib import Path

import click

from flashlink.cli.invocation import invocation


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

    import numpy as np

    from flashlink import __version__
    from flashlink.errors import RequestError
    from flashlink.flashsim.analyse import CANDIDATES, JPSI, READ, TRUTH, Selection, analyse, is_true
    from flashlink.flashsim.chunks import batches, digests, read_chunks
    from flashlink.flashsim.files import write
    from flashlink.flashsim.matching import first_rows
    from flashlink.flashsim.oversampling import original
    from flashlink.flashsim.records import recording

    with recording("analyse", record) as step:
        selection = Selection()
        found = []
        for tracks in batches(reconstructed, READ):
            found.append(analyse(tracks, selection))
            step.events += len(first_rows(tracks["event"]))
            step.tracks += len(tracks["event"])
        candidates = {name: np.concatenate([part[name] for part in found]) for name in CANDIDATES}
        if generated:
            truth = read_chunks(generated, TRUTH, np.unique(original(candidates["event"])))
            lost = np.setdiff1d(original(candidates["event"]), truth["event"])
            if len(lost):
                have = f"event {lost[0]}, which has candidates, is in none of {', '.join(map(str, generated))}"
                raise RequestError(f"{have}; give the generated samples of all events")
            candidates["true"] = is_true(candidates, truth)
        noted = {"step": "analyse", "version": __version__, "selection": asdict(selection), "command": invocation()}
        write(output, candidates, CANDIDATES, noted | {"reconstructed": list(digests(reconstructed))})
        step.numbers["jpsi"] = int((candidates["pdg"] == JPSI).sum())
        step.numbers["b"] = int((candidates["pdg"] != JPSI).sum())
