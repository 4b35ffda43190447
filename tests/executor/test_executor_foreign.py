"""The executor against the fake plugin: what it needs of any plugin, and what it does about refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

CHUNKS = """
envvars: "TOKEN"
rule all:
    input: expand("out/{n}.txt", n=range(3))
rule make_it:
    output: "out/{n}.txt"
    params: words='$$ $(HOME) "q"'
    resources: mem_mb=100, runtime=2
    shell: "echo {params.words:q} $TOKEN $FLASHLINK_SITE $FLASHLINK_POD_NAME > {output}"
"""

FAILING = """
rule fail:
    output: "never.txt"
    shell: "for i in $(seq 70); do echo line $i; done; exit 3"
"""


def test_every_job_is_a_pod(foreign: Any, fake: Any) -> None:
    foreign.write(CHUNKS)
    code, output = foreign.run("--interlink-site-name", "far", TOKEN="s3cret")
    assert code == 0, output
    names = [pod["metadata"]["name"] for pod in fake.created]
    made = sorted(foreign.read(f"out/{number}.txt") for number in range(3))
    assert made == sorted(f'$$ $(HOME) "q" s3cret far {name}\n' for name in names)
    assert sorted(fake.deleted) == sorted(pod["metadata"]["uid"] for pod in fake.created)
    assert foreign.records() == []
    assert "s3cret" not in json.dumps([pod["spec"]["containers"][0]["command"] for pod in fake.created])


@pytest.mark.slow
def test_the_ledger_tells_the_life_of_each_pod(foreign: Any) -> None:
    foreign.write(CHUNKS)
    foreign.run(TOKEN="x")
    plan, *entries = foreign.ledger()
    assert plan.jobs == {"make_it": 3}
    states: dict[str, list[str]] = {}
    for entry in entries:
        states.setdefault(entry.wildcards["n"], []).append(entry.state)
    assert set(states) == {"0", "1", "2"}
    assert all((seen[0], seen[-1]) == ("waiting", "done") for seen in states.values())


def test_the_log_of_a_failed_rule_is_shown(foreign: Any, fake: Any) -> None:
    foreign.write(FAILING)
    code, output = foreign.run()
    (pod,) = fake.created
    name = pod["metadata"]["name"]
    assert code == 1
    assert f"pod {name} at site default: container snakemake ended with exit code 1" in output
    assert "| line 70" in output
    assert "| line 2\n" not in output
    failed = foreign.ledger()[-1]
    assert (failed.state, failed.reason) == ("failed", "container snakemake ended with exit code 1")
    assert "\nline 1\nline 2\n" in foreign.read(f".snakemake/interlink/logs/{name}.log")
    assert fake.deleted == [pod["metadata"]["uid"]]


@pytest.mark.slow
def test_a_refusal_is_the_error_of_the_job(foreign: Any, fake: Any) -> None:
    fake.refusal = "hostPath /x is not below the site's volumes.host_paths"
    foreign.write(FAILING)
    code, output = foreign.run()
    assert code == 1
    assert "hostPath /x is not below the site's volumes.host_paths" in output
    assert fake.created == []


@pytest.mark.slow
def test_an_unknown_site_is_named(foreign: Any, fake: Any) -> None:
    foreign.write(FAILING.replace("    shell:", '    resources: site="mars"\n    shell:'))
    code, output = foreign.run("--interlink-sites", f"moon={fake.endpoint}")
    assert code == 1
    assert "resources: site: 'mars' is not one of the sites default, moon" in output


@pytest.mark.slow
def test_a_rule_chooses_its_site(foreign: Any, fake: Any) -> None:
    foreign.write(CHUNKS.replace("mem_mb=100", 'site="moon", mem_mb=100'))
    code, output = foreign.run("--interlink-sites", f"moon={fake.endpoint}", TOKEN="x")
    assert code == 0, output
    assert " moon make-it-" in foreign.read("out/0.txt")


@pytest.mark.slow
def test_nobody_is_waited_for_longer_than_patience_lasts(foreign: Any) -> None:
    foreign.write(FAILING)
    foreign.endpoint = "http://127.0.0.1:9"
    code, output = foreign.run("--interlink-patience-seconds", "0.5")
    assert code == 1
    assert "site default was out of reach for 0.5 s" in output


@pytest.mark.slow
def test_a_group_of_jobs_is_one_pod(foreign: Any, fake: Any) -> None:
    foreign.write(CHUNKS.replace("    params", '    group: "all"\n    params'))
    code, output = foreign.run("--group-components", "all=3", TOKEN="x")
    assert code == 0, output
    assert len(fake.created) == 1
    assert all(foreign.exists(f"out/{number}.txt") for number in range(3))


@pytest.mark.slow
def test_a_forgotten_pod_fails_its_job_and_a_retry_sends_another(foreign: Any, fake: Any) -> None:
    foreign.write(CHUNKS)
    fake.forgets = 1
    code, output = foreign.run("--interlink-forgotten-seconds", "0.5", "--retries", "1", TOKEN="x")
    assert code == 0, output
    assert "site default has lost it: not known there for 0.5 s" in output
    assert len(fake.created) == 4
    assert foreign.records() == []


@pytest.mark.slow
def test_a_plugin_that_hangs_on_deletions_holds_up_no_job(foreign: Any, fake: Any) -> None:
    foreign.write(CHUNKS)
    fake.hangs.clear()
    process = foreign.start("--jobs", "1", TOKEN="x")
    foreign.until(lambda: sum(getattr(line, "state", "") == "done" for line in foreign.ledger()) == 3, "all are done")
    assert len(foreign.records()) == 3
    fake.hangs.set()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert foreign.records() == []
    assert len(set(fake.deleted)) == 3  # who had to wait for an answer may have asked again


@pytest.mark.slow
def test_a_job_of_very_many_inputs(foreign: Any, fake: Any) -> None:
    names = [f"an-input-with-a-name-of-some-length-{number:05d}" for number in range(3000)]
    for name in names:
        (foreign.folder / name).touch()
    foreign.write(f"""
rule many:
    input: expand("an-input-with-a-name-of-some-length-{{number:05d}}", number=range({len(names)}))
    output: "out.txt"
    shell: "echo done > {{output}}"
""")
    code, output = foreign.run()
    assert code == 0, output
    assert len(fake.created[0]["spec"]["containers"][0]["command"][-1]) < 10_000
