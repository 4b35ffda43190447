"""The contract of all batch systems, on a schedd of the site and on a CE, with real daemons."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import BatchSystem, JobSpec, JobState
from flashlink.batch.testing import BatchContract

pytestmark = [pytest.mark.lab, pytest.mark.slow]


class Contract(BatchContract):
    patience = 90.0

    @pytest.fixture
    def tmp_path(self, shared: Path) -> Path:
        return shared

    @pytest.fixture(autouse=True)
    def user(self, condor: Any) -> None:
        self.owner = condor.user

    def job(self, folder: Path, script: str, **more: Any) -> JobSpec:
        spec = super().job(folder, script, **more)
        for path in (spec.folder, spec.script):
            os.chown(path, self.owner, self.owner)
        return spec

    def test_a_job_that_has_left_the_queue_is_found_in_the_history(
        self, system: BatchSystem, opened: Any, condor: Any, tmp_path: Path
    ) -> None:
        job = self.job(tmp_path, "exit 9")
        (job_id,) = self.submit(system, job)
        self.wait(system, [job_id])
        _, schedd, number = job_id.split(":")
        which = schedd.partition("@")[0]
        condor.run(which, "condor_qedit", number, "LeaveJobInQueue", "False")
        limit = time.monotonic() + self.patience
        while condor.run(which, "condor_q", number, "-af", "JobStatus").strip():
            assert time.monotonic() < limit
            time.sleep(0.5)
        later = opened(which)  # another plugin, which has never seen it
        assert later.find([job.uid]) == {job.uid: job_id}
        (ended,) = self.wait(later, [job_id])
        assert (ended.state, ended.exit_code) == (JobState.ENDED, 9)


class TestSchedd(Contract):
    @pytest.fixture
    def system(self, opened: Any) -> Iterator[BatchSystem]:
        return opened("site")


class TestCE(Contract):
    @pytest.fixture
    def system(self, opened: Any) -> Iterator[BatchSystem]:
        return opened("ce")
