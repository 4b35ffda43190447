"""What the user sees while a run goes on: for each step, how many pods wait, run and are done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from snakemake_executor_plugin_interlink.ledger import Entry, Plan, read

#: Without a terminal, at most one line in so many seconds.
_LINE_SECONDS = 3.0

#: The states that the table counts; failed ones only where there are some.
_STATES = ("waiting", "running", "failed", "done")


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

    def table(self, seconds: float, width: int) -> Table:
        """A row for each step, and one for all.

        Args:
            seconds: Since the start.
            width: Columns of the terminal.
        """
        shown = [state for state in _STATES if state != "failed" or self.failures]
        bar = min(30, width - 21 - 9 * (len(shown) + 1))
        table = Table(box=None, show_footer=True, header_style="bold", footer_style="bold")
        table.add_column("step", footer="all")
        for state in shown:
            table.add_column(state, str(sum(step.count(state) for step in self.steps.values()) or ""), justify="right")
        table.add_column("of", str(sum(step.total for step in self.steps.values())), justify="right")
        if bar > 0:
            table.add_column(footer=f"{int(seconds) // 60}:{int(seconds) % 60:02d}")
        for name, step in self.steps.items():
            style = "green" if step.complete else "red" if step.count("failed") else "" if step.states else "dim"
            cells: list[RenderableType] = [name, *(str(step.count(state) or "") for state in shown), str(step.total)]
            if bar > 0:
                cells.append(ProgressBar(total=max(step.total, 1), completed=step.count("done"), width=bar))
            table.add_row(*cells, style=style)
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

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the table on the terminal."""
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """Show a line above, or between, the progress."""
        # Where nobody looks at a terminal a line stays whole.
        self._console.print(line, markup=False, highlight=False, soft_wrap=not self._live)

    def update(self, *, news: bool, last: bool = False) -> None:
        """Show the progress: the table with its clock always, a line if there is news and it is time for one."""
        self._pending |= news
        now = time.monotonic()
        if self._live:
            if self._progress.steps:
                self._live.update(self._progress.table(now - self._start, self._console.width), refresh=True)
        elif self._pending and (last or now - self._printed > _LINE_SECONDS):
            self.say(f"{now - self._start:4.0f} s  {self._progress.line()}")
            self._printed, self._pending = now, False
