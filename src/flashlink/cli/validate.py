"""``flashlink validate``: flash against detailed simulation, with a verdict."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--generated", type=_FILE, required=True, multiple=True, help="Generated sample; repeatable.")
@click.option("--flash", type=_FILE, required=True, multiple=True, help="Flash-simulated sample; repeatable.")
@click.option("--reference", type=_FILE, required=True, multiple=True, help="Detailed sample; repeatable.")
@click.option("--flash-photons", type=_FILE, multiple=True, help="Clusters by `flashlink photons`; repeatable.")
@click.option("--reference-photons", type=_FILE, multiple=True, help="Clusters of the detailed simulation; repeatable.")
@click.option("--thresholds", type=_FILE, help="TOML file; docs/validation.md has its keys.")
@click.option("--most-events", type=int, default=20_000, show_default=True, help="Events to compare, at most.")
@click.option("--strict", is_flag=True, help="Exit with status 3 where a threshold is missed.")
@click.option("--output", type=_FILE, required=True, help="Page to write, HTML; the numbers appear beside it as JSON.")
@click.option("--record", type=_FILE, help="Write what the step did and cost, as JSON.")
def command(
    generated: tuple[Path, ...], flash: tuple[Path, ...], reference: tuple[Path, ...],
    flash_photons: tuple[Path, ...], reference_photons: tuple[Path, ...], thresholds: Path | None,
    most_events: int, strict: bool, output: Path, record: Path | None,
) -> None:  # fmt: skip
    """Compare a flash-simulated sample with a detailed one of the same events, which no training has seen.

    Every variable in bins of momentum, direction, multiplicity and origin; tails, pulls, correlations, efficiencies,
    identification, widths of masses, and how well a boosted classifier tells the two apart. Needs flashlink[validate].
    """
    import msgspec

    from flashlink.flashsim.files import replacing
    from flashlink.flashsim.records import recording
    from flashlink.flashsim.validation.measure import measure
    from flashlink.flashsim.validation.page import page
    from flashlink.flashsim.validation.sample import read_pair
    from flashlink.flashsim.validation.verdict import Thresholds, held_out, read_thresholds, verdict

    if output.suffix == ".json":
        raise click.BadParameter("is the page; the numbers get the same name with .json", param_hint="--output")
    if bool(flash_photons) != bool(reference_photons):
        raise click.BadParameter("needs --reference-photons, and they it", param_hint="--flash-photons")
    with recording("validate", record) as step:
        wanted = read_thresholds(thresholds) if thresholds else Thresholds()
        pair = read_pair(generated, flash, reference, most_events, (reference_photons, flash_photons))
        numbers = measure(pair)
        checks = [held_out(generated, flash), *verdict(numbers, wanted)]
        with replacing(output) as temporary:
            temporary.write_text(page(pair, numbers, checks), encoding="utf-8")
        with replacing(output.with_suffix(".json")) as temporary:
            found = {"thresholds": wanted, "checks": checks, "numbers": numbers}
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        step.events, step.tracks = numbers.events, sum(numbers.tracks)
    for check in checks:
        word = {True: "holds  ", False: "MISSED ", None: "unknown"}[check.holds]
        click.echo(f"{word}  {check.name}: {check.found}; wanted {check.wanted}")
    if strict and any(check.holds is False for check in checks):
        raise SystemExit(3)
