"""``flashlink logs``: what a container wrote."""

from __future__ import annotations

import re

import click

from flashlink.cli.terminal import write
from flashlink.client.books import Books, Entry
from flashlink.client.interlink import InterLink
from flashlink.errors import wrong
from flashlink.pods.wire import LogOptions, LogRequest

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)


@click.command()
@click.argument("pod")
@click.option("-c", "--container", help="Which container; by default the first.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--tail", type=click.IntRange(min=1), default=None, help="Only the last lines, that many.")
@click.option("--since", metavar="TIME", help="Only what is younger: 90s, 5m, 1h30m.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's instance before the last restart.")
def command(
    pod: str,
    container: str | None,
    follow: bool,
    tail: int | None,
    since: str | None,
    timestamps: bool,
    previous: bool,
) -> None:
    """Print what a container of POD wrote, and nothing else."""
    entry = Books().find(pod)
    options = LogOptions(
        Tail=tail or 0,
        Timestamps=timestamps,
        Follow=follow,
        Previous=previous,
        SinceSeconds=0 if since is None else _seconds(since),
        # interLink's way to say "not given"; a plugin written in Go takes no "".
        SinceTime="0001-01-01T00:00:00Z",
    )
    request = LogRequest(
        PodUID=entry.uid,
        ContainerName=_chosen(entry, container),
        PodName=entry.name,
        Namespace=entry.namespace,
        Opts=options,
    )
    with InterLink(entry.endpoint) as link:
        for piece in link.logs(request):
            write(piece)


def _chosen(entry: Entry, asked: str | None) -> str:
    """The container asked for, or the first; says so where there are others."""
    spec = entry.pod["spec"]
    main = [str(container["name"]) for container in spec.get("containers") or []]
    names = [*main, *(str(container["name"]) for container in spec.get("initContainers") or [])]
    if asked is None:
        if len(names) > 1:
            click.echo(f"container {main[0]} of {', '.join(names)}; -c chooses another", err=True)
        return main[0]
    if asked not in names:
        raise wrong("--container", asked, f"a container of {entry.name}; it has {', '.join(names)}")
    return asked


def _seconds(text: str) -> int:
    """A duration in seconds, at least 1."""
    match = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not 0 < total < 2**31:
        raise wrong("--since", text, "a time as '90s', '5m' or '1h30m'")
    return total
