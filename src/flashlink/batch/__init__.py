"""Batch systems: job specification, job state, the protocol, and the systems that flashlink ships."""

from flashlink.batch.system import BatchSystem, Capacity, JobSpec, JobState, JobStatus

__all__ = ["BatchSystem", "Capacity", "JobSpec", "JobState", "JobStatus"]
