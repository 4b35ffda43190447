"""The contract of all batch systems, against real Slurm: with accounting and without, here and by ssh."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobSpec
from flashlink.batch.slurm import SlurmBatch
from flashlink.batch.testing import BatchContract
from lab.clusters import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.slow]


class SlurmContract(BatchContract):
    patience = 150.0  # Slurm's time limits are minutes, and it looks at them every half minute
    test_walltime = None  # test_wall_times, for all clusters

    @pytest.fixture
    def tmp_path(self, cluster: Cluster, request: pytest.FixtureRequest) -> Path:
        """A folder of the shared file system."""
        folder = cluster.work / f"{type(self).__name__}-{request.node.name}"
        folder.mkdir()
        cluster.give(folder)
        return folder

    @pytest.fixture
    def system(self, cluster: Cluster, options: dict[str, Any], tmp_path_factory: Any) -> Iterator[SlurmBatch]:
        system = cluster.open(tmp_path_factory.mktemp("state"), **options)
        yield system
        system.close()

    @pytest.fixture(autouse=True)
    def _the_users_jobs(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Jobs belong to the plain user, as the commands are run by it."""
        make = BatchContract.job

        def job(self: BatchContract, *arguments: Any, **options: Any) -> JobSpec:
            made = make(self, *arguments, **options)
            cluster.give(made.folder, made.script)
            return made

        monkeypatch.setattr(BatchContract, "job", job)


class TestWithAccounting(SlurmContract):
    @pytest.fixture
    def cluster(self, accounted_slurm: Cluster) -> Cluster:
        return accounted_slurm

    @pytest.fixture
    def options(self, cluster: Cluster) -> dict[str, Any]:
        return cluster.here


class TestWithoutAccounting(SlurmContract):
    @pytest.fixture
    def cluster(self, plain_slurm: Cluster) -> Cluster:
        return plain_slurm

    @pytest.fixture
    def options(self, cluster: Cluster) -> dict[str, Any]:
        return cluster.here


class TestByLogin(SlurmContract):
    """Files travel by the connection, too."""

    @pytest.fixture
    def cluster(self, plain_slurm: Cluster) -> Cluster:
        return plain_slurm

    @pytest.fixture
    def options(self, cluster: Cluster) -> dict[str, Any]:
        return {**cluster.login, "spool": "/var/tmp/flashlink-contract"}


class TestByRest(SlurmContract):
    @pytest.fixture
    def cluster(self, accounted_slurm: Cluster) -> Cluster:
        return accounted_slurm

    @pytest.fixture
    def options(self, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        return cluster.rest(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module", autouse=True)
def wall_times(
    plain_slurm: Cluster, accounted_slurm: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Future[None]]]:
    """Jobs that outlast their wall times, one a cluster, watched beside the other tests as Slurm takes a minute."""
    contract = SlurmContract()
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        checks = []
        for cluster in (plain_slurm, accounted_slurm):
            job = contract.job(cluster.work, "sleep 600", walltime=1)
            cluster.give(job.folder, job.script)
            system = stack.enter_context(closing(cluster.open(tmp_path_factory.mktemp("state"))))
            ids = contract.submit(system, job)
            checks.append(threads.submit(contract.ends_at_its_walltime, system, ids))
        yield checks


@pytest.mark.parametrize("number", [0, 1], ids=["plain", "accounted"])
def test_wall_times(wall_times: list[Future[None]], number: int) -> None:
    wall_times[number].result()
