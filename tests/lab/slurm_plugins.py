"""Plugins for a Slurm of the lab, on a machine of the cluster or far from it, and pods for them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from lab.clusters import CHECKOUT
from lab.condor.plugins import Plugin, Pod

GREETING = {"kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"text": "hello\n"}}
VOLUMES = [{"name": "greeting", "configMap": {"name": "greeting"}}, {"name": "scratch", "emptyDir": {}}]
MOUNTS = [{"name": "greeting", "mountPath": "/etc/greeting"}, {"name": "scratch", "mountPath": "/scratch"}]


class SlurmPlugin(Plugin):
    """``flashlink plugin`` of the plain user, in the lab, where Slurm's commands are."""

    conf = ""

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        seen = [word for path in (self.folder.parents[1], Path(sys.base_prefix)) for word in ("--bind", str(path))]
        plugin = [sys.executable, "-m", "flashlink", "plugin", "--config", str(self.folder / "site.json")]
        with (self.folder / "plugin.log").open("ab") as log:
            self.process = subprocess.Popen(
                [CHECKOUT / "lab" / "enter", *seen, "env", f"SLURM_CONF={self.conf}", *plugin],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._meet()


class RemotePlugin(Plugin):
    """``flashlink plugin`` on this machine, of its own user, outside of the lab."""

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        command = [sys.executable, "-m", "flashlink", "plugin", "--config", str(self.folder / "site.json")]
        with (self.folder / "plugin.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder)
        self._meet()


def marking(plugin: Plugin, marks: Path, name: str, then: str = "true", **annotations: str) -> Pod:
    """A pod that leaves one line in `marks` for each time that it runs; it was not sent yet."""
    return plugin.prepare(
        f"echo ran >>/marks/{name}; {then}",
        annotations={f"slurm-job.vk.io/{key}": text for key, text in annotations.items()},
        volumes=[{"name": "marks", "hostPath": {"path": str(marks)}}],
        main={
            "volumeMounts": [{"name": "marks", "mountPath": "/marks"}],
            "resources": {"requests": {"cpu": "0.1"}},
        },
    )


def runs(marks: Path) -> Counter[str]:
    """How often each of these pods has run."""
    return Counter({path.name: len(path.read_text().splitlines()) for path in marks.iterdir()})
