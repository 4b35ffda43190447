"""The script that looks at a worker with a pod's eyes, and its findings (see `flashlink check`)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import PurePosixPath

from flashlink.finding import STATUSES, Finding
from flashlink.jobscript.plan import Report
from flashlink.jobscript.quote import quote
from flashlink.site.config import Site


def render(site: Site, folder: PurePosixPath, report: Report | None = None) -> str:
    """The script for the workers of a resolved `site`, with `folder` as its own.

    Args:
        site: After `flashlink.site.runtime.resolve`.
        folder: Where the job may write on the worker.
        report: Where jobs report, if they do.
    """
    text = (files("flashlink.jobscript") / "probe.sh").read_text("utf-8").removeprefix("# shellcheck shell=bash\n")
    calls = (" ".join([call[0], *map(quote, call[1:])]) for call in _calls(site, folder, report))
    return "\n".join(["#!/bin/bash", text, *calls, ""])


def _calls(site: Site, folder: PurePosixPath, report: Report | None) -> Iterator[tuple[str, ...]]:
    yield "probe_begin", str(folder)
    containers, volumes = site.containers, site.volumes
    if containers.runtime != "host":
        executable = containers.executable or containers.runtime
        yield "probe_containers", containers.runtime, executable, *containers.options
        if containers.root != "read-only":
            yield "probe_root", executable, containers.root
        yield "probe_squashfs", executable
        if registry := _registry(site):
            yield "probe_registry", *registry
    for path in volumes.host_paths:
        yield "probe_place", "hostPath", path, "ro"
    for claim, path in volumes.claims.items():
        yield "probe_place", f"claim {claim}", path, "rw"
    for path in site.images.folders:
        yield "probe_place", "images.folders", path, "ro"
    if volumes.cvmfs:
        yield "probe_cvmfs", volumes.cvmfs
    if volumes.fuse:
        yield ("probe_fuse",)
    if report:
        yield "probe_reports", report.url, report.authority


def _registry(site: Site) -> tuple[str, str] | None:
    """Host and port from where images come that name neither transport nor registry; None if that is no registry."""
    transport, _, rest = site.images.prefix.partition("://")
    if transport not in ("docker", "oras"):
        return None
    named = rest.partition("/")[0]
    if not {".", ":"} & set(named):
        return "registry-1.docker.io", "443"
    host, _, port = named.partition(":")
    return host, port or ("80" if named in site.images.plain_http else "443")


def findings(output: str) -> list[Finding]:
    """The findings in the output of the script; lines of another form are passed over."""
    parts = [line.split("\t") for line in output.splitlines()]
    return [Finding(*part) for part in parts if len(part) == 3 and part[0] in STATUSES]
