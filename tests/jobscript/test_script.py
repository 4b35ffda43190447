"""Golden scripts: the generated part, byte for byte; and what shellcheck says of the whole."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashlink.jobscript.plan import Bind, JobPlan, Step
from flashlink.jobscript.script import render, runtime
from flashlink.pods.pod import EmptyDir, File, Files, RestartRule

SHELLCHECK = str(Path(sys.executable).parent / "shellcheck")
GOLDEN = Path(__file__).parent / "golden"
FOLDER = PurePosixPath("/pods/5f2c")
STEP = Step("main", ("sh", "-c", 'echo "it\'s $HOME"\n'), (), "", (("A", "x y"), ("EMPTY", "")), "", ())
HOST = JobPlan("5f2c", "pod", FOLDER, "host", "", (), (), (STEP,))
VOLUMES = FOLDER / "volumes"
APPTAINER = JobPlan(
    uid="5f2c",
    name="pod",
    folder=FOLDER,
    runtime="apptainer",
    executable="/usr/bin/apptainer",
    runtime_options=("--ipc",),
    init_steps=(
        replace(STEP, name="prep", image="/images/a.sif", gpu="nvidia", working_dir="/data", restart="OnFailure"),
        replace(STEP, name="proxy", image="/images/s.sif", restart="Always", sidecar=True),
    ),
    steps=(
        Step(
            name="main",
            argv=None,
            args=("--all",),
            image="docker://debian:12",
            env=(),
            working_dir="",
            binds=(
                Bind(VOLUMES / "e/a:b,c", PurePosixPath("/e"), VOLUMES / "e", kind="volume"),
                Bind(PurePosixPath("/data/x"), PurePosixPath("/x"), PurePosixPath("/data"), True, "Directory"),
            ),
            restart_rules=(RestartRule((3, 42)), RestartRule((1,), inside=False)),
        ),
    ),
    scratch=(EmptyDir("e"),),
    files=(Files("c", (File("a/b", b"\0\xff\n", 0o400),)), Files("s", (File("key", b"secret"),))),
    deadline=600,
    grace=5,
    path=("/opt/a b",),
)


@pytest.mark.parametrize(("name", "plan"), [("host", HOST), ("apptainer", APPTAINER)])
def test_the_generated_part_is_the_golden_one(name: str, plan: JobPlan) -> None:
    script = render(plan)
    before, _, generated = script.partition(runtime())
    assert before.startswith("#!/bin/bash\n")
    assert generated == (GOLDEN / f"{name}.sh").read_text()


@pytest.mark.parametrize("plan", [HOST, APPTAINER])
def test_shellcheck_finds_nothing(plan: JobPlan, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text(render(plan))
    # 2329: which functions are called depends on the pod. 2016: what a pod says stands in single quotes on purpose.
    checked = subprocess.run(
        [SHELLCHECK, "-e", "SC2329,SC2016", str(script)], capture_output=True, text=True, check=False
    )
    assert checked.stdout == ""
    assert checked.returncode == 0


def test_limits_and_media_of_empty_dirs() -> None:
    scratch = (EmptyDir("disk", size_limit=2**20), EmptyDir("shm", in_memory=True, size_limit=1000))
    script = render(replace(HOST, scratch=scratch))
    calls = [line.strip() for line in script.splitlines() if line.endswith(" || return") and "volume" in line]
    assert calls[-4:] == [
        "volume_scratch disk || return",
        "limit_volume disk 1048576 1Mi || return",
        "volume_memory shm || return",
        "limit_volume shm 1000 1000 || return",
    ]


def test_identity_and_root_of_a_container() -> None:
    step = replace(STEP, image="/a.sif", root="memory", user=0, non_root=True, fake_root=True)
    calls = [line.strip() for line in render(replace(HOST, steps=(step,))).splitlines()]
    assert calls[calls.index("with_image /a.sif") + 1 :][:3] == [
        "with_root memory",
        "with_fake_root",
        "with_identity 0 '' non-root",
    ]


def test_options_for_fetching_stand_beside_the_image() -> None:
    step = replace(STEP, image="docker://a:5/b", fetch_options=("--no-https",))
    script = render(replace(HOST, steps=(step,), image_cache="/var/my cache"))
    assert "  with_image docker://a:5/b --no-https\n" in script
    assert "\nimage_cache '/var/my cache'\n" in script


texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["A", "B", "C_1"]), texts)), st.lists(texts, min_size=1), texts)
def test_whatever_a_pod_says_arrives_as_it_is(env: list[tuple[str, str]], argv: list[str], name: str) -> None:
    step = replace(STEP, argv=tuple(argv), env=tuple(env), working_dir="/" + name)
    script = render(replace(HOST, steps=(step,))).removesuffix('run_pod "$@"\n')
    script += 'declare_container 0\nprintf \'%s\\0\' "$workdir" "${argv[@]}" ${env[@]+"${env[@]}"}\n'
    run = subprocess.run(["bash", "-s"], input=script.encode(), capture_output=True, check=True)
    expected = ["/" + name, *argv, *(word for pair in env for word in pair)]
    assert run.stdout == b"".join(word.encode() + b"\0" for word in expected)
    assert run.stderr == b""
