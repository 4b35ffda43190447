"""interLink's jobConfig, within what the site grants."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from flashlink.errors import SiteError
from flashlink.jobscript.plan import JobPlan
from flashlink.jobscript.planning import plan
from flashlink.pods.pod import Container, JobConfig, Pod, Security
from flashlink.site.config import Batch, Containers, Grants, Images, Site, Volumes


def planned(config: JobConfig, security: Security = Security(), **of_containers: Any) -> JobPlan:  # noqa: B008 (frozen)
    settings = {"executable": "/opt/bin/apptainer", "path": ["/opt/tools"], **of_containers}
    site = Site(
        batch=Batch(system="slurm"),
        containers=Containers(runtime="apptainer", **settings),
        images=Images(cache="/var/cache/images"),
        volumes=Volumes(host_paths=["/data"], fuse="host"),
        grants=Grants(apptainer_options=["--nv"]),
    )
    pod = Pod("uid", "p", "default", (Container("main", "a", ("true",), security=security),), job_config=config)
    return plan(pod, site, PurePosixPath("/pods/uid"))


def test_what_says_nothing_or_what_the_site_has_changes_nothing() -> None:
    same = JobConfig("apptainer", fuse_mode="host", cache="/var/cache/images", path=("/opt/tools",))
    assert planned(same) == planned(JobConfig())


def test_what_the_site_grants_is_honoured() -> None:
    made = planned(JobConfig(fakeroot=True, options=("ipc", "nv"), cache="/data/cache"), fakeroot=True)
    assert made.runtime_options == ("--ipc", "--nv")
    assert made.image_cache == "/data/cache"
    assert (made.steps[0].user, made.steps[0].fake_root) == (0, True)
    own = planned(JobConfig(fakeroot=True), Security(user=1000), fakeroot=True).steps[0]
    assert (own.user, own.fake_root) == (1000, False)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            JobConfig(executable="podman"),
            "jobConfig.ApptainerOptions.executable: 'podman': this site runs /opt/bin",
        ),
        (JobConfig(fuse_mode="container"), "jobConfig.ApptainerOptions.fuseMode: 'container': this site mounts FUSE"),
        (JobConfig(options=("unsquash",)), "jobConfig.ApptainerOptions: '--unsquash': this site does not grant it"),
        (JobConfig(fakeroot=True), "container main: runAsUser 0: this site runs no container as root"),
        (
            JobConfig(cache="/etc"),
            "jobConfig.Volumes.apptainer_cachedir: '/etc': it is neither the site's images",
        ),
        (JobConfig(path=("/tmp",)), "jobConfig.Volumes.additional_directories_in_path: '/tmp': this site has"),
    ],
)
def test_what_it_does_not_grant_is_refused(config: JobConfig, line: str) -> None:
    with pytest.raises(SiteError) as caught:
        planned(config)
    assert str(caught.value).startswith(line)
