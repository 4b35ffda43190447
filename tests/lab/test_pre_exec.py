"""Lines that run on the worker before real containers, and networks that they make for them."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import msgspec
import pytest

from flashlink.site.config import Grants
from lab.specs import assert_clean, one, shell

pytestmark = pytest.mark.lab

PRE_EXEC = "slurm-job.vk.io/pre-exec"

#: In the form of interLink's own: a script that makes a network namespace and runs its arguments in it, without what it
#: downloads. The address on its one interface stands for WireGuard's.
MESH = """cat <<'EOFMESH' > $TMPDIR/mesh.sh
#!/bin/bash
set -e
set -m
TMPDIR=${SLIRP_TMPDIR:-/tmp/.slirp.$RANDOM$RANDOM}
mkdir -p $TMPDIR
cd $TMPDIR
cat <<'EOFSLIRP' > $TMPDIR/slirp.sh
#!/bin/bash
set -e
ip link set lo up
ip addr add 10.7.0.2/32 dev lo
echo "=== Full mesh network configured successfully ==="
$@
EOFSLIRP
chmod +x $TMPDIR/slirp.sh
unshare --user --map-user=$(id -u) --map-group=$(id -g) --keep-caps --net --mount $TMPDIR/slirp.sh "$@" &
fg 1
EOFMESH
"""


@pytest.fixture
def site(pods):
    return msgspec.structs.replace(pods.site, grants=Grants(pre_exec=True))


def test_what_lines_export_reaches_the_container_runtime(pods, site):
    lines = "echo 'of the lines'; export APPTAINERENV_CODE='a b'; export PATH=/no/such:$PATH"
    job = pods.run(one(shell('echo "$CODE"')), annotations={PRE_EXEC: lines}, site=site)
    assert job.log() == b"a b\n", job.job_log
    assert job.job_log == "of the lines\n"
    assert_clean(job)


def test_a_tunnel_ends_with_the_job(pods, site):
    annotations = {"interlink.eu/wstunnel-client-commands": "cp /bin/sleep wstunnel && ./wstunnel 300 &"}
    job = pods.start(one(shell("sleep 2; echo done")), annotations=annotations, site=site)
    job.until(lambda job: bool(job.pids("./wstunnel 300")))
    assert job.wait() == 0
    assert job.log() == b"done\n"
    assert_clean(job)


@pytest.mark.parametrize("mode", ["map-user", "map-root"])
def test_the_job_runs_inside_of_a_mesh_network(pods, site, mode):
    # interLink takes the second where it finds no newuidmap; inside of it Apptainer has to be root too.
    mesh = MESH if mode == "map-user" else re.sub("--map-user.*keep-caps", "--map-root-user", MESH)
    addresses = "grep -q 10.7.0.2 /proc/net/fib_trie && echo in; tail -n +3 /proc/net/dev | cut -d: -f1; id -u"
    first = {**shell(addresses), "name": "first"}
    job = pods.run({"initContainers": [first], **one(shell(addresses))}, annotations={PRE_EXEC: mesh}, site=site)
    assert job.wait() == 0, job.job_log
    user = pods.lab.user if mode == "map-user" else 0
    assert job.log().split() == job.log("first").split() == [b"in", b"lo", str(user).encode()]
    assert "=== Full mesh network configured successfully ===" in job.job_log
    assert_clean(job)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_in_a_mesh_network_ends_by_a_signal(pods, site, how):
    spec = one(
        shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=5
    )
    job = pods.start(spec, annotations={PRE_EXEC: MESH}, site=site)
    job.until(lambda job: b"up" in job.log())
    os.kill(job.process.pid, how)
    job.wait()
    job.until_clean(assert_clean)
    if how == signal.SIGTERM:
        assert job.log() == b"up\nbye\n"
        assert job.ends() == {"main": (7, "cancelled")}


def test_mounts_and_options_by_annotation(pods, site):
    (pods.shared / "file").write_text("of the worker\n")
    annotations = {
        "slurm-job.vk.io/singularity-mounts": f"--bind {pods.shared}:/given:ro",
        "slurm-job.vk.io/singularity-options": "--env MINE=yes",
    }
    site = msgspec.structs.replace(site, grants=Grants(apptainer_options=["--env"]))
    main: Any = shell('cat /given/file; touch /given/new 2>/dev/null || echo refused; echo "$MINE"')
    job = pods.run(one(main), annotations=annotations, site=site)
    assert job.log() == b"of the worker\nrefused\nyes\n", job.job_log
