"""The contract of all batch systems, on a schedd of the site and on a CE, with real daemons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import BatchSystem, JobSpec
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


class TestSchedd(Contract):
    @pytest.fixture
    def system(self, opened: Any) -> Iterator[BatchSystem]:
        return opened("site")


class TestCE(Contract):
    @pytest.fixture
    def system(self, opened: Any) -> Iterator[BatchSystem]:
        return opened("ce")
