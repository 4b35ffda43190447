"""What the user sees while a run goes on: for each step, how many pods wait, run and are done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from snakemake_executor_plugin_interlink.ledger import Entry, Plan, read

#: Without a terminal, at most one line in so many seconds.
_LINE_SECONDS = 3.0


@dataclass(slots=True)
class Step:
    """The pods of one step.

    Attributes:
        total: Pods that the run needs; those that are not sent yet are in no other count.
        states: Pod's name to its last state.
    """

    total: int = 0
    states: dict[str, str] = field(default_factory=dict)

    def count(self, state: str) -> int:
        """Pods in that state."""
        return sum(1 for seen in self.states.values() if seen == state)

    @property
    def complete(self) -> bool:
        """Whether all pods are done."""
        return self.count("done") >= self.total


@dataclass
class Progress:
    """The steps of a run, in order, and what failed."""

    steps: dict[str, Step] = field(default_factory=dict)
    failures: list[Entry] = field(default_factory=list)

    def take(self, lines: Iterable[Plan | Entry]) -> bool:
        """Take news of the ledger in; True if there was any."""
        news = False
        for line in lines:
            news = True
            if isinstance(line, Plan):
                self.steps = {rule: Step(total) for rule, total in line.jobs.items()}
                continue
            self.steps.setdefault(line.rule, Step()).states[line.pod] = line.state
            if line.state == "failed":
                self.failures.append(line)
        return news

    def line(self) -> str:
        """All in one line: what goes on, and how much is done."""
        done = sum(step.count("done") for step in self.steps.values())
        total = sum(step.total for step in self.steps.values())
        busy = [
            f"{name} {step.count('done')}/{step.total} done, {step.count('running')} running, "
            f"{step.count('waiting')} waiting"
            for name, step in self.steps.items()
            if step.states and not step.complete
        ]
        return f"{done}/{total} pods done" + "".join(f"; {words}" for words in busy)

    def table(self) -> Table:
        """A row for each step."""
        table = Table("step", box=None)
        for title in ("waiting", "running", "done", "of"):
            table.add_column(title, justify="right")
        table.add_column()
        for name, step in self.steps.items():
            counts = [step.count(state) for state in ("waiting", "running", "done")]
            style = "green" if step.complete else "red" if step.count("failed") else "" if step.states else "dim"
            bar = ProgressBar(total=max(step.total, 1), completed=counts[2], width=30)
            table.add_row(name, *(str(count or "") for count in counts), str(step.total), bar, style=style)
        return table


class LedgerReader:
    """Reads on in a ledger where it stopped before; a torn last line waits for its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def news(self) -> Iterator[Plan | Entry]:
        """What has been written since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from read(whole)


class Display:
    """Shows a `Progress`: as a table that changes in place on a terminal, else as a line now and then.

    It starts no thread: it changes when `update` is called.
    """

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._start = time.monotonic()
        self._printed = 0.0
        self._pending = False
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        if self._live:
            self._live.start()

    def say(self, line: str) -> None:
        """Show a line above, or between, the progress."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, *, news: bool, last: bool = False) -> None:
        """Show the progress if there is news, or it is the last time."""
        self._pending |= news
        if self._live:
            if self._pending or last:
                self._live.update(self._progress.table(), refresh=True)
                self._pending = False
            return
        now = time.monotonic()
        if self._pending and (last or now - self._printed > _LINE_SECONDS):
            self.say(f"{now - self._start:4.0f} s  {self._progress.line()}")
            self._printed, self._pending = now, False

    def close(self) -> None:
        """Leave the last state of the table on the terminal."""
        if self._live:
            self._live.stop()
