"""Slurm, by its own commands, here or on a login node by ssh."""

from flashlink.batch.slurm.system import SlurmBatch

__all__ = ["SlurmBatch"]
