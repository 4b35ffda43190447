"""``flashlink plugin``: serve interLink's plugin routes for a site."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec


@click.command()
@click.option("--listen", metavar="ADDRESS", help="HOST:PORT, or unix:PATH; 127.0.0.1:4000 by default.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the plugin's books.")
@click.option("--config", type=click.Path(path_type=Path), help="The site's TOML or YAML file.")
@click.option("--json-logs/--plain-logs", default=None, help="Log as JSON; by default where no terminal reads it.")
def command(listen: str | None, state: Path | None, config: Path | None, json_logs: bool | None) -> None:
    """Serve interLink's plugin routes for a site, by default the machine itself.

    One line on standard output tells when requests are taken. SIGTERM ends the plugin; jobs go on, and the next
    plugin on the same state folder knows them.
    """
    from flashlink.plugin.logging import configure
    from flashlink.plugin.serve import serve
    from flashlink.site.load import load

    site = load(config)
    if listen is not None:
        site = msgspec.structs.replace(site, listen=listen)
    if state is not None:
        site = msgspec.structs.replace(site, state=str(state.absolute()))
    configure(json=not sys.stderr.isatty() if json_logs is None else json_logs)
    serve(site, lambda endpoint: click.echo(f"flashlink plugin: site {site.name} at {endpoint}"))
