"""Slurm, by its own commands, here or on a login node by ssh, or by slurmrestd."""

from flashlink.batch.slurm.system import SlurmBatch

__all__ = ["SlurmBatch"]
