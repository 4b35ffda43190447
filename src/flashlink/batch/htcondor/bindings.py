"""The process of HTCondor's bindings: a question a line on standard input, an answer a line on standard output.

Both are JSON. The first line is the configuration; each further one names a method of `Connection` and its arguments.
The process ends with the plugin, even if that is killed, so that no call of a dead plugin reaches the schedd.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import classad2
import htcondor2

#: What HTCondor's words begin with when it understood and said no, so that asking again is of no use.
_REFUSALS = ("Unable to commit transaction", "Failed to create job ad", "Unable to create job ad")

#: Where `Linux`' ``prctl`` takes the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

Ads = list[dict[str, Any]]


class Connection:
    """The schedd, found again after each failure.

    Args:
        pool: Of its collector; "" is the machine's own.
        schedd: Its name; "" is the machine's own, or the one that the pool has.
        configuration: HTCondor's configuration, over the machine's.
    """

    def __init__(self, pool: str, schedd: str, configuration: Mapping[str, str]) -> None:
        for macro, value in configuration.items():
            htcondor2.param[macro] = value
        self._pool = pool
        self._name = schedd
        self._found: tuple[str, Any] | None = None

    def lose(self) -> None:
        """Look for the schedd again next time: it may have moved."""
        self._found = None

    def locate(self) -> str:
        """Name of the schedd."""
        return self._schedd()[0]

    def query(self, constraint: str, projection: Sequence[str]) -> Ads:
        """Jobs in the queue."""
        ads = self._schedd()[1].query(constraint, list(projection))
        return [_plain(ad, projection) for ad in ads]

    def history(self, constraint: str, projection: Sequence[str], match: int) -> Ads:
        """Jobs that have left the queue, the latest first, `match` at most."""
        ads = self._schedd()[1].history(constraint, list(projection), match)
        return [_plain(ad, projection) for ad in ads]

    def submit(self, description: Mapping[str, str], rows: Sequence[Mapping[str, str]], spool: bool) -> list[str]:
        """Submit one job a row, all or none; their ids, in order."""
        schedd = self._schedd()[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about lines that HTCondor does not know: the site's own attributes
            result = schedd.submit(htcondor2.Submit(dict(description)), itemdata=iter(rows), spool=spool)
        if spool:
            self._spool(schedd, result)
        first = result.first_proc()
        return [f"{result.cluster()}.{first + number}" for number in range(result.num_procs())]

    def act(self, action: str, jobs: Sequence[str] | str, reason: str) -> None:
        """Do something to jobs, given by their ids or a constraint."""
        self._schedd()[1].act(htcondor2.JobAction[action], jobs, reason)

    def edit(self, jobs: Sequence[str] | str, attribute: str, value: str) -> None:
        """Set an attribute of jobs."""
        self._schedd()[1].edit(jobs, attribute, value)

    def retrieve(self, jobs: Sequence[str]) -> None:
        """Fetch the output of spooled jobs into their folders."""
        self._schedd()[1].retrieve(list(jobs))

    def machines(self) -> Ads:
        """What the pool's workers have in all."""
        projection = ["TotalSlotCpus", "TotalSlotMemory", "TotalSlotGPUs", "Cpus", "Memory", "GPUs"]
        ads = self._collector().query(htcondor2.AdType.Startd, 'SlotType isnt "Dynamic"', projection)
        return [_plain(ad, projection) for ad in ads]

    def check(self, expressions: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with ClassAd expressions, by their keys; those that are right are left out."""
        wrong = {}
        for key, text in expressions.items():
            try:
                classad2.ExprTree(text)
            except (classad2.ClassAdException, SyntaxError, ValueError) as error:
                wrong[key] = str(error)
        return wrong

    def _collector(self) -> Any:
        return htcondor2.Collector(self._pool or None)

    def _schedd(self) -> tuple[str, Any]:
        if self._found is None:
            location = self._locate()
            self._found = (str(location["Name"]), htcondor2.Schedd(location))
        return self._found

    def _locate(self) -> Any:
        collector = self._collector()
        if self._name:
            return collector.locate(htcondor2.DaemonType.Schedd, self._name)
        if not self._pool:
            return collector.locate(htcondor2.DaemonType.Schedd)
        found = collector.locateAll(htcondor2.DaemonType.Schedd)
        if len(found) != 1:
            names = ", ".join(str(ad["Name"]) for ad in found) or "none"
            raise LookupError(f"the pool has not one schedd but {names}; name one in batch.options.schedd")
        return found[0]

    def _spool(self, schedd: Any, result: Any) -> None:
        try:
            schedd.spool(result)
        except Exception:
            schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {result.cluster()}", "its files could not be sent")
            raise


def _plain(ad: Any, projection: Sequence[str]) -> dict[str, Any]:
    """Those attributes of a ClassAd that have values which JSON can hold."""
    values = ((name, ad.get(name)) for name in projection)
    return {name: value for name, value in values if type(value) in (bool, int, str) or _is_finite(value)}


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _answer(connection: Connection, question: Mapping[str, Any]) -> dict[str, Any]:
    method: Callable[..., Any] = getattr(connection, question["call"])
    try:
        return {"answer": method(**question["arguments"])}
    except Exception as error:  # all that the bindings raise is a plain exception; the plugin decides what it means
        connection.lose()
        return {"error": str(error) or repr(error), "refused": str(error).startswith(_REFUSALS)}


def main() -> None:
    """Answer until the input ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever HTCondor's libraries may print is no answer
    setup = json.loads(sys.stdin.buffer.readline())
    if os.getppid() != setup.pop("parent"):
        return
    connection = Connection(**setup)
    for line in sys.stdin.buffer:
        answers.write(json.dumps(_answer(connection, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
