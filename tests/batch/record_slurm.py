"""Record what a real Slurm answers, as golden files for `test_slurm_answers`.

    python tests/batch/record_slurm.py SHELL TARGET

SHELL is a bash where Slurm's commands are (SHELL_COMMAND of lab/slurm/start), at a cluster as of the lab whose
controller keeps ended jobs for minutes. TARGET is the folder of the version.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from flashlink.batch.slurm import answers
from flashlink.batch.slurm.commands import Answer, Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import read

#: Uid to options and script of jobs, each of which comes into a state of its own.
JOBS = {
    "done": ((), "exit 0"),
    "one": ((), "exit 1"),
    "most": ((), "exit 255"),
    "killed": ((), "kill -KILL $$"),
    "terminated": ((), "kill -TERM $$; sleep 1"),
    "no-folder": (("--chdir=/nonexistent", "--output=job.log"), "exit 0"),
    "timeout": (("--time=1",), "sleep 600"),
    "cancelled": ((), "sleep 600"),
    "cancelled-early": (("--hold",), "exit 0"),
    "held": (("--hold",), "exit 0"),
    "later": (("--begin=now+1hour",), "exit 0"),
    "running": ((), "sleep 600"),
    "completing": (("--time=5",), "trap 'sleep 600' TERM; sleep 600"),
    "requeued": (("--requeue",), "sleep 600"),
    "big": (("--cpus-per-task=8", "--exclusive"), "exit 0"),  # those after it wait behind it
}

#: Options of sbatch that are refused.
REFUSED = {
    "cpus": "--cpus-per-task=9999",
    "memory": "--mem=99999999",
    "time": "--time=99999",
    "partition": "--partition=nope",
    "account": "--account=nope",
    "qos": "--qos=nope",
    "gpus": "--gres=gpu:5",
    "gres": "--gres=nope:1",
    "constraint": "--constraint=nope",
    "reservation": "--reservation=nope",
    "option": "--nope=1",
}


def sbatch(uid: str, *options: str, script: str = "exit 0") -> Command:
    words = (
        "sbatch",
        "--parsable",
        f"--job-name=golden.{uid}",
        "--output=/dev/null",
        "--chdir=/",
        *options,
        "/dev/stdin",
    )
    return Command(words, f"#!/bin/bash\n{script}\n")


def scancel(number: str, *options: str) -> Command:
    return Command(("scancel", *options, number))


def main(shell: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    held = os.open(os.devnull, os.O_RDONLY)
    connection = Connection(read({"shell": [shell]}), held, target)

    def run(*commands: Command) -> list[Answer]:
        return connection.run(*commands)

    said = run(*(sbatch(uid, *options, script=script) for uid, (options, script) in JOBS.items()))
    numbers = {uid: answer.output.strip() for uid, answer in zip(JOBS, said, strict=True)}
    time.sleep(4)
    run(scancel(numbers["cancelled"]), scancel(numbers["cancelled-early"]))
    run(Command(("scontrol", "requeue", numbers["requeued"])))
    time.sleep(100)  # for the time limit
    run(scancel(numbers["completing"]))
    time.sleep(1)
    (queue,) = run(answers.squeue(60))
    (places,) = run(answers.squeue_places(60))
    (account,) = run(*answers.sacct([int(number) for number in numbers.values()], 60))
    (nodes,) = run(answers.sinfo([], 60))
    (config,) = run(answers.configuration())
    refused = run(*(sbatch("refused", option) for option in REFUSED.values()))
    texts = {"squeue": queue, "places": places, "sacct": account, "sinfo": nodes}
    texts |= {f"sbatch-{name}": answer for name, answer in zip(REFUSED, refused, strict=True)}
    for name, answer in texts.items():
        (target / name).write_text(f"{answer.status}\n{answer.errors}\n--\n{answer.output}", "utf-8")
    shown = [line for line in config.output.splitlines() if "Cluster" in line or "VERSION" in line]
    (target / "config").write_text(f"{config.status}\n{config.errors}\n--\n" + "\n".join(shown) + "\n", "utf-8")
    run(Command(("scancel", *numbers.values())))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
