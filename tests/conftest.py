"""In which order the workers of pytest-xdist take the tests, and which files stay together on one worker.

With ``--dist loadfile`` a file stays on one worker, and the files of the most tests come first. Here it is files of few
tests that take longest, and they would run alone at the end. So ``./test`` passes ``--no-loadscope-reorder``, by which
the order is that of the collection, and this sorts the collection.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: What stays together beside each file, by the start of the test ids: tests at the same HTCondor, those at one whose
#: daemons they kill, and tests at the same Slurm clusters, which take long to start.
UNITS = {
    "tests/lab/test_main_job.py": "htcondor",
    "tests/lab/condor/test_cut.py": "fragile htcondor",
    "tests/lab/condor/test_survival.py": "fragile htcondor",
    "tests/lab/condor/": "htcondor",
    "tests/lab/test_slurm": "slurm",
}

#: What takes longest, by the start of the test ids, in the order in which it begins. The first makes the lab, so what
#: the other workers begin with should not need it.
FIRST = (
    "tests/lab/test_main_job.py",
    "tests/system/",
    "tests/lab/condor/",
    "tests/jobscript/test_hostile_pods.py",
    "tests/lab/test_slurm",
    "tests/lab/",
    "tests/contract/",
    "tests/executor/",
    "tests/jobscript/",
    "tests/flashsim/",
    "tests/batch/",
)


class Units(LoadFileScheduling):  # type: ignore[misc]
    """Gives out files, and those of `UNITS` together."""

    def _split_scope(self, nodeid: str) -> str:
        unit = next((unit for start, unit in UNITS.items() if nodeid.startswith(start)), None)
        return unit or str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Units | None:
    """Of ``--dist loadfile`` alone."""
    return Units(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort, for workers only: a person who runs a part wants to see it in its own order."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))
