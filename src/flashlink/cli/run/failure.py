"""Why a run failed: the step's own words, free of what Snakemake says around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flashlink.cli.run.processes import last_lines
from flashlink.errors import FlashlinkError
from snakemake_executor_plugin_interlink.ledger import Entry

#: Lines that are shown of a log.
_TAIL = 20

#: How flashlink's own commands begin the one line that tells an error.
_OWN = "flashlink: "

_BEFORE = re.compile(r"Execute \d+ jobs\.\.\.")
_AFTER = "Shutting down, this might take some time."


def explained(failures: Sequence[Entry], log: Path, advice: str, console: Console) -> FlashlinkError:
    """The line that tells why a run failed; the last lines of a log before it, if that line is not the step's own.

    Args:
        failures: Failed pods, in order; the others mostly follow from the first.
        log: Snakemake's.
        advice: What to say if the site took no pod of the run.
        console: Where lines of the log are shown.
    """
    if not failures:
        _show(last_lines(log, _TAIL), console)
        return FlashlinkError(f"the workflow failed before any pod did; all of Snakemake's messages: {log}")
    first = failures[0]
    step = step_of(first)
    if not first.log:
        hint = f"; {advice}" if advice else ""
        return FlashlinkError(f"{step} failed at site {first.site}: {first.reason}{hint}; more in {log}")
    lines = own_words(last_lines(Path(first.log), 200))
    errors = [line.removeprefix(_OWN) for line in lines if line.startswith(_OWN)]
    if not errors:
        console.print(f"Last lines of pod {first.pod}:", markup=False)
        _show(lines[-_TAIL:], console)
    why = errors[-1] if errors else first.reason
    return FlashlinkError(f"{step} failed at site {first.site}: {why}; its log: {first.log}")


def step_of(entry: Entry) -> str:
    """A pod's step as a person names it: with what tells it from the others of its rule."""
    words = " ".join(f"{name}={value}" for name, value in entry.wildcards.items())
    return f"step {entry.rule} ({words})" if words else f"step {entry.rule}"


def own_words(lines: Sequence[str]) -> list[str]:
    """Of the log of a pod what the step said, and how its command ended: without Snakemake's start before and after.

    All of it, if that leaves nothing.
    """
    begin = max((number + 1 for number, line in enumerate(lines) if _BEFORE.fullmatch(line)), default=0)
    end = next((number for number, line in enumerate(lines) if number >= begin and line == _AFTER), len(lines))
    return list(lines[begin:end]) or list(lines)


def _show(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(f"  {line}", markup=False)
