"""``flashlink status``: the pods that were submitted from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from flashlink.cli.terminal import show_json, show_table
from flashlink.client.books import Books, Entry
from flashlink.client.interlink import InterLink
from flashlink.client.phase import Verdict, verdict
from flashlink.errors import SiteError
from flashlink.pods.wire import PodStatus


@dataclass(frozen=True, slots=True)
class Line:
    """A pod, what its plugin says about it, and what that comes to; a plugin out of reach leaves the phase Unknown."""

    entry: Entry
    status: PodStatus | None
    verdict: Verdict


@click.command()
@click.argument("pods", nargs=-1, metavar="[POD]...")
@click.option("--json", "as_json", is_flag=True, help="Print all that the plugin tells, as JSON.")
def command(pods: tuple[str, ...], as_json: bool) -> None:
    """Show pods that were submitted from here: all, or those of the names or uids given."""
    books = Books()
    lines = list(_ask([entry for pod in pods for entry in books.matching(pod)] if pods else books.all()))
    if as_json:
        show_json([_full(line) for line in lines])
    elif lines:
        show_table(("NAMESPACE", "NAME", "PHASE", "AGE", "UID", "JOB", "REASON"), [_row(line) for line in lines])
    else:
        click.echo("no pods; 'flashlink submit' sends some", err=True)


def _ask(entries: Sequence[Entry]) -> Iterator[Line]:
    """Ask each pod's plugin; one that is out of reach is asked once, not once a pod."""
    silent: dict[str, SiteError] = {}
    for entry in entries:
        try:
            if entry.endpoint in silent:
                raise silent[entry.endpoint]
            with InterLink(entry.endpoint, patience=10.0) as link:
                status = next((one for one in link.status([entry.pod]) if one.UID in {entry.uid, ""}), None)
        except SiteError as error:
            silent[entry.endpoint] = error
            yield Line(entry, None, Verdict(verdict(None).phase, reason=str(error)))
        else:
            yield Line(entry, status, verdict(status))


def _row(line: Line) -> tuple[str, ...]:
    entry = line.entry
    age = _age(datetime.now(UTC).timestamp() - entry.submitted)
    return entry.namespace, entry.name, line.verdict.phase, age, entry.uid, entry.jid or "-", line.verdict.reason


def _full(line: Line) -> dict[str, object]:
    entry = line.entry
    return {
        "name": entry.name,
        "namespace": entry.namespace,
        "uid": entry.uid,
        "jid": entry.jid,
        "endpoint": entry.endpoint,
        "submitted": datetime.fromtimestamp(entry.submitted, UTC).isoformat(timespec="seconds"),
        "phase": line.verdict.phase,
        "exitCode": line.verdict.exit_code if line.verdict.phase.final else None,
        "reason": line.verdict.reason,
        "initContainers": line.status.initContainers if line.status else [],
        "containers": line.status.containers if line.status else [],
    }


def _age(seconds: float) -> str:
    """An age as kubectl shows it: the largest unit that makes two digits or so."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
