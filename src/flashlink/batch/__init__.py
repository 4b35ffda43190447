"""Batch systems: job specification, job state, the protocol, and the systems that flashlink ships."""

from importlib.metadata import entry_points
from typing import Any

from flashlink.batch.system import BatchSystem, Capacity, Examinable, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError

__all__ = ["BatchSystem", "Capacity", "Examinable", "JobSpec", "JobState", "JobStatus", "load"]


def load(name: str) -> Any:
    """The class of the batch system that the entry point `name` of the group ``flashlink.batch`` gives.

    Raises:
        SiteError: No distribution that is installed here has it; names those that there are.
    """
    known = entry_points(group="flashlink.batch")
    if name not in known.names:
        names = ", ".join(sorted(known.names)) or "none: install flashlink itself"
        raise SiteError(f"batch.system: {name!r} is not a batch system that is installed here; there are {names}")
    return known[name].load()
