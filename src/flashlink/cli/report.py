"""``flashlink report``: one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--generated", type=_FILE, required=True, multiple=True, help="Generated sample; repeatable.")
@click.option("--flash", type=_FILE, required=True, multiple=True, help="Flash-simulated sample; repeatable.")
@click.option("--reference", type=_FILE, required=True, multiple=True, help="Reference sample; repeatable.")
@click.option(
    "--flash-candidates", type=_FILE, required=True, help="What `flashlink analyse` made of the flash sample."
)
@click.option("--reference-candidates", type=_FILE, required=True, help="What it made of the reference sample.")
@click.option(
    "--parameterizations",
    type=_FILE,
    help="Those that the flash sample was simulated with; without it, the models that come with flashlink.",
)
@click.option("--records", type=_FILE, multiple=True, help="Record of a step; repeatable.")
@click.option("--output", type=_FILE, required=True, help="Page to write, HTML; summary.json appears beside it.")
@click.option("--record", type=_FILE, help="Write what the step did and cost, as JSON.")
def command(
    generated: tuple[Path, ...],
    flash: tuple[Path, ...],
    reference: tuple[Path, ...],
    flash_candidates: Path,
    reference_candidates: Path,
    parameterizations: Path | None,
    records: tuple[Path, ...],
    output: Path,
    record: Path | None,
) -> None:
    """Write the report of a run as one HTML page that needs nothing else.

    The reference sample may be of a part of the events: what is compared is compared in the events that both have.
    Several files: `--flash a.parquet --flash b.parquet`.
    """
    import msgspec

    from flashlink.flashsim.files import replacing
    from flashlink.flashsim.records import read_record, recording
    from flashlink.flashsim.report.comparison import Samples, compare
    from flashlink.flashsim.report.page import make_report, page, summary
    from flashlink.flashsim.report.provenance import check_made_with, is_b_to_jpsi_k, provenance, trained_on_these
    from flashlink.flashsim.simulate import read_parameterizations

    with recording("report", record) as step:
        samples = Samples(generated, flash, reference, flash_candidates, reference_candidates)
        noted = [read_record(path) for path in records]
        learned, digest = read_parameterizations(parameterizations)
        check_made_with(samples, digest)
        comparison = compare(samples)
        facts = provenance(samples, learned, digest, noted, comparison)
        seen, main = trained_on_these(samples, learned), is_b_to_jpsi_k(samples)
        report = make_report(comparison, noted, facts, seen, b_to_jpsi_k=main)
        html, numbers = page(report), msgspec.json.format(msgspec.json.encode(summary(report)))
        with replacing(output) as temporary:
            temporary.write_text(html, encoding="utf-8")
        with replacing(output.with_name("summary.json")) as temporary:
            temporary.write_bytes(numbers + b"\n")
        step.events = comparison.generated
