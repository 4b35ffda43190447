"""A job script in place of the containers, which starts real ones itself."""

from __future__ import annotations

import msgspec
import pytest

from flashlink.site.config import Grants
from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab


def test_a_script_that_runs_the_containers_itself(pods):
    site = msgspec.structs.replace(pods.site, grants=Grants(job_script=True))
    greeting = {"kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"text": "hello\n"}}
    main = shell("never", volumeMounts=[{"name": "greeting", "mountPath": "/greeting"}])
    script = f"""
apptainer --silent exec --bind "$FLASHLINK_VOLUMES/greeting:/greeting" {pods.lab.images["shell"]} cat /greeting/text
apptainer --silent exec {pods.lab.images["shell"]} sh -c "sleep 300" & disown
exit 4
"""
    volumes = [{"name": "greeting", "configMap": {"name": "greeting"}}]
    job = pods.run(one(main, volumes=volumes), greeting, site=site, job_script=script)
    assert job.log() == b"hello\n", job.job_log
    assert job.ends() == {"main": (4, "exited")}
    job.until_clean(assert_clean)
