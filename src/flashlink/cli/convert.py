"""``flashlink convert``: join samples, and write them for analysis."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("samples", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="File to write: .root (TTree tracks) or .parquet."
)
@click.option("--record", type=click.Path(path_type=Path), help="Write what the step did and cost, as JSON.")
def command(samples: tuple[Path, ...], output: Path, record: Path | None) -> None:
    """Join SAMPLES (Parquet, of one kind) in the order given and write them as Parquet or ROOT."""
    from flashlink.flashsim.files import join
    from flashlink.flashsim.records import recording

    with recording("convert", record) as step:
        joined = join(samples, output)
        step.events = joined.events
        step.numbers["rows"] = joined.rows
