"""The run itself: site up, Snakemake on, progress shown, everything ended in order whatever happens."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from flashlink.cli.run.choice import choose, embed
from flashlink.cli.run.embedded import RemoteSite, RunSite
from flashlink.cli.run.failure import explained, step_of
from flashlink.cli.run.interruption import Interruption
from flashlink.cli.run.progress import Display, LedgerReader, Progress
from flashlink.cli.run.workflow import Production, check_sites, checkout, delete_pods, start_snakemake, stop_snakemake
from flashlink.errors import FlashlinkError, RequestError

_TICK_SECONDS = 0.2

#: Cancelled pods get 10 s to end by themselves before they are killed.
_DRAIN_SECONDS = 30.0


def run(production: Production, site: str) -> int:
    """Run the main job.

    Args:
        production: What is to be made.
        site: ``local``, a site's file, or the endpoint of a running plugin.

    Returns:
        Exit status: 0, or 128 and the signal if the user ended it.

    Raises:
        FlashlinkError: It cannot start, or a step failed.
    """
    console = Console(soft_wrap=True, highlight=False)
    progress = Progress()
    display = Display(console, progress)
    chosen = choose(site, checkout(), production.output, production.cores, display.say)
    check_sites(production.configuration, chosen.name)
    with Interruption() as interruption, _only_run(production):
        ledger, log = production.folder / "ledger.jsonl", production.folder / "snakemake.log"
        ledger.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        with display:
            opened = chosen if isinstance(chosen, RemoteSite) else embed(chosen, production.folder, display.say)
            try:
                snakemake = start_snakemake(production, opened, ledger, log)
                _attend(snakemake, opened, interruption, LedgerReader(ledger), progress, display)
            finally:
                clean = _clean_up(production, opened, display)
        if interruption.count:
            console.print(f"Interrupted. {'Nothing runs on; t' if clean else 'T'}he next run goes on from here.")
            return interruption.exit_status
        if snakemake.returncode != 0:
            raise explained(progress.failures, log, opened.advice, console)
        _conclude(production.output, console)
    return 0


def _attend(
    snakemake: subprocess.Popen[bytes],
    site: RunSite,
    interruption: Interruption,
    ledger: LedgerReader,
    progress: Progress,
    display: Display,
) -> None:
    """Stay with Snakemake until it ends: show progress, keep the plugin alive, pass the user's Ctrl-C on."""
    heard, told = 0, False
    try:
        while snakemake.poll() is None:
            if interruption.count > heard:
                heard = interruption.count
                display.say("Ending at once …" if heard > 1 else "Ending the pods … (again to end at once)")
                stop_snakemake(snakemake, at_once=heard > 1)
            site.keep_alive()
            display.update(news=progress.take(ledger.news()))
            if progress.failures and not told:
                told = True
                display.say(
                    f"{step_of(progress.failures[0])} failed; pods already sent may end (Ctrl-C ends them now)."
                )
            time.sleep(_TICK_SECONDS)
        display.update(news=progress.take(ledger.news()), last=True)
    finally:
        stop_snakemake(snakemake, at_once=True)
        snakemake.wait()


def _clean_up(production: Production, site: RunSite, display: Display) -> bool:
    """Delete what pods are left, wait until they are gone, and end the plugin; False if some may still run."""
    try:
        left = delete_pods(production.output)
        if left and site.restart():
            left = delete_pods(production.output)
        if left:
            display.say(
                f"{len(left)} pods could not be deleted ({left[0]}); they may run on, the next run tries again."
            )
        elif site.drain(_DRAIN_SECONDS):
            return True
        else:
            display.say(f"Some pods have not ended in {_DRAIN_SECONDS:g} s; see {production.folder}.")
    except FlashlinkError as error:
        display.say(f"Cleaning up: {error}")
    finally:
        site.close()
    return False


@contextmanager
def _only_run(production: Production) -> Iterator[None]:
    """Hold the output folder: two runs at once would take each other's pods for their own.

    Raises:
        RequestError: Another run holds it, or it cannot be made.
    """
    try:
        production.output.mkdir(parents=True, exist_ok=True)
        production.folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(production.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RequestError(f"--output {production.output}: cannot be used: {error.strerror}") from None
    try:
        _lock(descriptor, production.output)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, output: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestError(
            f"--output {output}: another 'flashlink run' is at work there; wait for it, or take another folder"
        ) from None


def _conclude(output: Path, console: Console) -> None:
    """Show the headline numbers and where the report is."""
    for label, value in _headline(output / "summary.json"):
        console.print(f"  {label:<40} {value}", markup=False)
    console.print(f"Report: {output / 'report.html'}", markup=False)


def _headline(path: Path) -> list[tuple[str, str]]:
    summary: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return [(str(entry["label"]), str(entry["value"])) for entry in summary["headline"]]
