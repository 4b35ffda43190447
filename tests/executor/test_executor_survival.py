"""The executor against a real plugin: kills, restarts and cancellations lose nothing and leave nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SLOW = """
rule slow:
    output: "out.txt"
    params: word="WORD"
    shell: "echo $$ >> pids; echo $FLASHLINK_POD_NAME >> runs; until test -e go; do sleep 0.1; done; "
        "echo {params.word} $FLASHLINK_POD_NAME > {output}.new; mv {output}.new {output}"
"""


def go(workflow: Any) -> None:
    (workflow.folder / "go").touch()


def runs(workflow: Any) -> list[str]:
    return workflow.read("runs").split() if workflow.exists("runs") else []


def alive(workflow: Any) -> list[int]:
    return [int(pid) for pid in workflow.read("pids").split() if Path(f"/proc/{pid}").exists()]


def begun(workflow: Any, *options: str) -> Any:
    """Snakemake, with its pod's command running."""
    before = len(runs(workflow))
    process = workflow.start(*options)
    workflow.until(lambda: len(runs(workflow)) > before, "the pod runs")
    return process


def kill(process: Any) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_new_snakemake_attaches_to_the_pods_of_a_killed_one(workflow: Any) -> None:
    workflow.write(SLOW)
    kill(begun(workflow))
    process = workflow.start()
    workflow.until(lambda: any(getattr(line, "state", "") == "running" for line in workflow.ledger()), "it is attached")
    go(workflow)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    (pod,) = runs(workflow)
    assert workflow.read("out.txt") == f"WORD {pod}\n"
    assert workflow.records() == []


def test_a_pod_that_ended_meanwhile_is_not_run_again(workflow: Any) -> None:
    workflow.write(SLOW)
    kill(begun(workflow))
    go(workflow)
    workflow.until(lambda: workflow.exists("out.txt") and not alive(workflow), "the pod has ended")
    code, output = workflow.run()
    assert code == 0, output
    assert len(runs(workflow)) == 1


def test_a_pod_that_ended_meanwhile_does_not_pass_for_another_job(workflow: Any) -> None:
    """The parameters have changed, and Snakemake was dead when it should have noted the old ones."""
    workflow.write(SLOW)
    kill(begun(workflow))
    go(workflow)
    workflow.until(lambda: workflow.exists("out.txt") and not alive(workflow), "the pod has ended")
    workflow.write(SLOW.replace("WORD", "OTHER"))
    code, output = workflow.run()
    assert code == 0, output
    assert workflow.read("out.txt").startswith("OTHER ")


def test_a_living_pod_of_a_changed_job_is_deleted(workflow: Any, plugin: Any) -> None:
    workflow.write(SLOW)
    kill(begun(workflow))
    (old,) = alive(workflow)
    workflow.write(SLOW.replace("WORD", "OTHER"))
    process = begun(workflow)
    workflow.until(lambda: old not in alive(workflow), "the old pod has ended")
    go(workflow)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert workflow.read("out.txt").startswith("OTHER ")
    workflow.until(plugin.drained, "nothing is left at the plugin")


def test_outputs_that_were_removed_meanwhile_are_made_again(workflow: Any) -> None:
    workflow.write(SLOW)
    kill(begun(workflow))
    go(workflow)
    workflow.until(lambda: workflow.exists("out.txt") and not alive(workflow), "the pod has ended")
    (workflow.folder / "out.txt").unlink()
    code, output = workflow.run()
    assert code == 0, output
    assert len(runs(workflow)) == 2


def test_ctrl_c_deletes_the_pods(workflow: Any, plugin: Any) -> None:
    workflow.write(SLOW)
    process = begun(workflow)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    workflow.until(lambda: not alive(workflow), "the pod's process has ended")
    workflow.until(plugin.drained, "nothing is left at the plugin")
    assert workflow.ledger()[-1].state == "cancelled"
    assert workflow.records() == []
    assert not workflow.exists("out.txt")


def test_a_killed_plugin_that_comes_back_costs_nothing(workflow: Any, plugin: Any) -> None:
    workflow.write(SLOW)
    process = begun(workflow)
    plugin.kill()
    go(workflow)
    workflow.until(lambda: not alive(workflow), "the pod has ended")
    plugin.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(runs(workflow)) == 1
    assert "Site default answers again." in output


def test_a_pod_that_could_not_be_deleted_is_deleted_by_the_next_run(workflow: Any, plugin: Any) -> None:
    workflow.write(SLOW)
    process = begun(workflow)
    plugin.kill()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "1 pods are left to the next run to delete: " in output
    assert len(workflow.records()) == 1
    (old,) = alive(workflow)
    plugin.start()
    go(workflow)
    code, output = workflow.run()
    assert code == 0, output
    assert workflow.records() == []
    workflow.until(lambda: old not in alive(workflow), "the old pod has ended")
    workflow.until(plugin.drained, "nothing is left at the plugin")


def test_secrets_reach_the_pod_by_no_command_line_and_no_record(workflow: Any) -> None:
    workflow.write('envvars: "TOKEN"\n' + SLOW.replace("{params.word}", "$TOKEN"))
    environment = {"TOKEN": "s3cret-word"}
    before = len(runs(workflow))
    process = workflow.start(**environment)
    workflow.until(lambda: len(runs(workflow)) > before, "the pod runs")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"s3cret-word" in command for command in commands)
    assert not any("s3cret-word" in path.read_text() for path in workflow.records())
    go(workflow)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert workflow.read("out.txt").startswith("s3cret-word ")
