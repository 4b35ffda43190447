"""``flashlink delete``: end a pod and forget it."""

from __future__ import annotations

import click

from flashlink.client.books import Books
from flashlink.client.interlink import InterLink
from flashlink.errors import SiteError


@click.command()
@click.argument("pods", nargs=-1, required=True, metavar="POD...")
@click.option("--grace", type=click.IntRange(min=0), help="Seconds from SIGTERM to SIGKILL; by default the pod's own.")
@click.option("--forget", is_flag=True, help="Strike the pod out of the list here even if its plugin does not answer.")
def command(pods: tuple[str, ...], grace: int | None, forget: bool) -> None:
    """End PODs that were submitted from here, and forget them with their logs."""
    books = Books()
    for entry in [books.find(pod) for pod in pods]:
        try:
            with InterLink(entry.endpoint) as link:
                link.delete(entry.pod, grace)
        except SiteError as error:
            if not forget:
                raise SiteError(f"{error}; --forget strikes the pod out of the list here") from None
            click.echo(f"{error}; {entry.name} is struck out of the list here all the same", err=True)
        books.remove(entry.uid)
        click.echo(f"{entry.namespace}/{entry.name} deleted")
