"""What works at a site and what does not, before the first pod: looked at from here, and by a job on a worker."""

from __future__ import annotations

import os
import shutil
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from flashlink.batch import Examinable
from flashlink.errors import FlashlinkError, SiteError
from flashlink.finding import Finding
from flashlink.jobscript.plan import Report
from flashlink.plugin.probing import probe, sample
from flashlink.plugin.reports import Reports
from flashlink.plugin.serve import batch_system
from flashlink.pods import quantity
from flashlink.site.config import Site
from flashlink.site.load import state_folder, work_folder
from flashlink.site.runtime import host_mode_notice, resolve

#: A certificate that ends within so many days is worth a word.
SOON_DAYS = 14


def checkup(site: Site, patience: float, told: Callable[[str], None]) -> Iterator[Finding]:
    """Look at a site; a finding at a time, as it is known.

    Args:
        site: As configured.
        patience: Seconds that the job on a worker may take, its time in the queue included; 0 sends none.
        told: Called with a line that says what is being waited for.
    """
    try:
        site = resolve(site)
    except SiteError as error:
        yield Finding("problem", "containers", str(error))
        return
    if notice := host_mode_notice(site):
        yield Finding("warning", "containers", notice)
    yield from _folders(site)
    reports, found = _reports(site)
    yield from found
    place = state_folder(site) / f"check-{uuid.uuid4()}"
    try:
        yield from _batch(site, place, reports, patience, told)
    except (FlashlinkError, OSError) as error:
        yield Finding("problem", f"batch system {site.batch.system}", str(error))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _folders(site: Site) -> Iterator[Finding]:
    for name, folder in (("state", state_folder(site)), ("work", work_folder(site))):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield Finding("problem", name, f"{folder}: {error.strerror}; choose another folder")
            continue
        if not os.access(folder, os.W_OK | os.X_OK):
            yield Finding("problem", name, f"{folder} cannot be written; give it to the plugin's user")
        elif folder.stat().st_mode & 0o077 and name == "state":
            yield Finding("problem", name, f"{folder} can be read by others; chmod 700 it")
        else:
            yield Finding("ok", name, f"{folder}, {free // 2**30} GiB free")


def _reports(site: Site) -> tuple[Report | None, list[Finding]]:
    """How the job on the worker can try the way of reports; and what is to be said of the certificate."""
    if not site.reports.listen:
        return None, []
    try:
        reports = Reports(site.reports, state_folder(site)).of("check")
        return reports, [_certificate(site)]
    except (FlashlinkError, OSError) as error:
        return None, [Finding("problem", "reports", f"{error}; see [reports] in the site's file")]


def _certificate(site: Site) -> Finding:
    path = site.reports.certificate
    try:
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(_end_of_certificate(path, site.reports.key)), UTC)
    except (OSError, ssl.SSLError) as error:
        return Finding("problem", "certificate", f"{path} and its key cannot be used: {error}; both are PEM files")
    days = (ends - datetime.now(UTC)).days
    if days < SOON_DAYS:
        return Finding("warning", "certificate", f"{path} ends on {ends:%Y-%m-%d}, in {days} days; renew it")
    return Finding("ok", "certificate", f"{path} is good until {ends:%Y-%m-%d}")


def _end_of_certificate(certificate: str, key: str) -> str:
    """``notAfter`` of a certificate, as a client sees it that trusts this very one: Python reads no others."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(certificate, key)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    for end in ends * 2:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return str((ends[0].getpeercert() or {})["notAfter"])


def _batch(
    site: Site, place: Path, reports: Report | None, patience: float, told: Callable[[str], None]
) -> Iterator[Finding]:
    name = f"batch system {site.batch.system}"
    system = batch_system(site, place)
    try:
        if isinstance(system, Examinable):
            yield from system.examine(sample(site))
        totals = system.capacity()
        memory = quantity.shown(totals.memory >> 30 << 30) if totals.memory >> 30 else quantity.shown(totals.memory)
        yield Finding("ok", name, f"answers: {totals.cpus} cores, {memory} of memory, {totals.gpus} GPUs in all")
        if patience:
            yield from probe(system, site, reports, patience, told)
    finally:
        system.close()
