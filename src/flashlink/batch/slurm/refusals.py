"""What Slurm's commands say when they fail: not now, never, or nobody knows.

The words are those of Slurm's own table of errors; which of several a version says differs, so words and not whole
lines are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flashlink.batch.slurm.commands import TIMED_OUT, Answer
from flashlink.errors import SiteError

#: Words in sbatch's errors after which the job may be there all the same, or comes later: Slurm's answer was lost.
UNSURE = (
    "timed out",
    "send failure",
    "receive failure",
    "shutdown failure",
    "Zero Bytes were transmitted or received",
    "Connection reset by peer",
    "Message receive failure",
)

#: Words in the errors of Slurm's commands that say: not now. Everything else is a refusal for good.
NOT_NOW = (
    *UNSURE,
    "Unable to contact slurm controller",
    "Communication connection failure",
    "Connection refused",
    "slurm backup controller in standby mode",
    "Controller is in standby mode",
    "Slurm controller not responding",
    "Rate limit exceeded",
    "try again",
    "temporarily un",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Munge encode failed",
    "Slurm job queue full",
    "System submissions disabled",
    "Required partition not available",
    "SubmitJob",  # QOSMaxSubmitJobPerUserLimit and its kin: as many jobs as the user may have are there already
    "I/O error writing script/environment to file",
    "Unable to resolve",
    "DNS SRV lookup failed",
    "Could not establish a configuration source",
)


class UnsureError(SiteError):
    """Slurm may have taken in the job though it did not say so."""


def refusal(answer: Answer) -> SiteError:
    """What one of Slurm's commands has to say for itself."""
    said = re.sub(r"\b(sbatch|scancel|squeue|sacct|sinfo|scontrol): (error: |fatal: )?", "", answer.problem)
    said = said.replace("Batch job submission failed: ", "")
    if answer.status in TIMED_OUT:
        said = f"no answer in time; {said}"
    if answer.status in (126, 127):
        return SiteError(f"Slurm's commands cannot be run: {said}", transient=True)
    kind = UnsureError if answer.status in TIMED_OUT or _says(answer, UNSURE) else SiteError
    return kind(f"Slurm: {said}", transient=answer.status in TIMED_OUT or _says(answer, NOT_NOW))


def _says(answer: Answer, words: Sequence[str]) -> bool:
    said = answer.errors.lower()
    return any(word.lower() in said for word in words)
