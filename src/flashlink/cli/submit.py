"""``flashlink submit``: send pods to an interLink plugin."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from flashlink.cli.terminal import Prefixed, show_json, write
from flashlink.client import manifests
from flashlink.client.books import Books, Entry
from flashlink.client.follow import Logs, watch
from flashlink.client.interlink import DEFAULT_ENDPOINT, InterLink, with_jid
from flashlink.client.phase import Verdict, verdict
from flashlink.errors import RequestError, SiteError
from flashlink.pods.wire import CreateRequest, PodStatus

_KINDS = ("initContainers", "containers")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--endpoint",
    envvar="FLASHLINK_ENDPOINT",
    default=DEFAULT_ENDPOINT,
    show_default=True,
    show_envvar=True,
    help="The plugin: http://HOST:PORT or unix:PATH.",
)
@click.option("--wait", is_flag=True, help="Wait until the pod has ended, and exit with its exit code.")
@click.option("--logs", is_flag=True, help="Show what the containers write as they write it; waits.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(files: tuple[str, ...], endpoint: str, wait: bool, logs: bool, as_json: bool) -> None:
    """Send the Pods and Jobs of Kubernetes manifests to an interLink plugin ("-" reads standard input).

    ConfigMaps and Secrets that they refer to stand in the same files or in others given. A Job runs as one pod, once.
    """
    requests = manifests.requests(manifests.load(files))
    if not requests:
        raise RequestError(f"{', '.join(files)}: neither a Pod nor a Job is in there; add one")
    if logs and as_json:
        raise click.UsageError("--logs and --json both print to standard output; choose one")
    with InterLink(endpoint) as link:
        link.ping()
        entries = [_submit(link, request, quiet=logs or as_json) for request in requests]
        verdicts = _stay(link, entries, logs=logs) if wait or logs else []
    if as_json:
        show_json([_outcome(entry, verdicts[index] if verdicts else None) for index, entry in enumerate(entries)])
    for entry, end in zip(entries, verdicts, strict=False):
        if end.reason:
            click.echo(f"{entry.namespace}/{entry.name}: {end.phase}: {end.reason}", err=True)
    if code := next((end.exit_code for end in verdicts if end.exit_code), 0):
        raise SystemExit(code if 0 < code < 256 else 1)


def _submit(link: InterLink, request: CreateRequest, *, quiet: bool) -> Entry:
    """Send one pod; it is in the books before it is sent, so that none runs unknown."""
    metadata, books = request.pod["metadata"], Books()
    known = {key: metadata[key] for key in ("uid", "name", "namespace")}
    entry = Entry(**known, endpoint=link.endpoint, jid="", submitted=time.time(), pod=request.pod)
    books.add(entry)
    try:
        jid = link.create(request).PodJID
    except SiteError as error:
        if error.transient:
            raise SiteError(f"{error}; see 'flashlink status {entry.uid}' whether the pod got there") from None
        books.remove(entry.uid)
        raise SiteError(f"pod {entry.namespace}/{entry.name}: {error}") from None
    entry = Entry(**known, endpoint=link.endpoint, jid=jid, submitted=entry.submitted, pod=with_jid(request.pod, jid))
    books.add(entry)
    click.echo(f"{entry.namespace}/{entry.name} submitted as {jid} (uid {entry.uid})", err=quiet)
    return entry


def _stay(link: InterLink, entries: Sequence[Entry], *, logs: bool) -> list[Verdict]:
    """Wait for all pods; with `logs` show what they write."""
    several = sum(len(entry.pod["spec"].get(kind) or []) for entry in entries for kind in _KINDS) > 1
    prefixed = Prefixed()

    def put(index: int, container: str, piece: bytes) -> None:
        if several:
            prefixed.write(f"{entries[index].name}/{container}" if len(entries) > 1 else container, piece)
        else:
            write(piece)

    waits = _Waits(entries)
    last: dict[int, PodStatus] = {}
    followed = Logs(link, put) if logs else None
    try:
        for index, status in watch(link, [entry.pod for entry in entries]):
            waits.see(index, status)
            last[index] = status
            if followed:
                followed.see(index, status)
    except KeyboardInterrupt:
        click.echo("the pod goes on; 'flashlink delete' ends it", err=True)
        raise
    if followed:
        followed.close()
    prefixed.close()
    return [verdict(last[index]) for index in range(len(entries))]


class _Waits:
    """Tells somebody who sits at a terminal what pods wait for, once for each change."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._told: dict[int, Verdict] = {}

    def see(self, index: int, status: PodStatus) -> None:
        """Take the status of a pod."""
        now, entry = verdict(status), self._entries[index]
        if sys.stderr.isatty() and not now.phase.final and now != self._told.get(index):
            self._told[index] = now
            reason = f": {now.reason}" if now.reason else ""
            click.echo(f"{entry.namespace}/{entry.name}: {now.phase}{reason}", err=True)


def _outcome(entry: Entry, end: Verdict | None) -> dict[str, object]:
    known: dict[str, object] = {
        "name": entry.name,
        "namespace": entry.namespace,
        "uid": entry.uid,
        "jid": entry.jid,
        "endpoint": entry.endpoint,
    }
    return known if end is None else {**known, "phase": end.phase, "exitCode": end.exit_code, "reason": end.reason}
