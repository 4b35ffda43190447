"""``flashlink check``: what works at a site and what does not, before the first pod."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from flashlink.cli.terminal import show_json, show_table


@click.command()
@click.option("--site", "config", type=click.Path(path_type=Path), help="The site's file; this machine without.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=600,
    show_default=True,
    help="Seconds for the job that looks at a worker, its time in the queue included; 0 sends none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config: Path | None, wait: float, as_json: bool) -> None:
    """Look at a site: its file, folders, certificate and batch system, and, by a job, at one of its workers.

    The exit status is 1 if there is a problem, which is what keeps pods from running; warnings do not count.
    """
    from flashlink.plugin.checkup import checkup
    from flashlink.site.load import load

    found = list(checkup(load(config), wait, lambda line: click.echo(f"flashlink: {line} ...", err=True)))
    if as_json:
        show_json([msgspec.to_builtins(finding) for finding in found])
    else:
        show_table(("STATUS", "WHAT", ""), [(one.status, one.subject, one.message) for one in found])
    if any(one.status == "problem" for one in found):
        raise SystemExit(1)
