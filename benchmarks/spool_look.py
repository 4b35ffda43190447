"""How long one look at the files of all running jobs of a Slurm site takes, where they travel by the login node.

The site is a folder, and its shell a bash of this machine, so the network's own time is not in it.
Run: .venv/bin/python benchmarks/spool_look.py [JOBS]...
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flashlink.batch.slurm.books import Job
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.spool import Spool

WRITE = 200


@contextmanager
def site(count: int) -> Iterator[tuple[Spool, list[Job]]]:
    """So many jobs that run, each with the files of a pod of one container."""
    with tempfile.TemporaryDirectory() as name, Path(name, "held").open("w") as held:
        folder = Path(name)
        options = read({"spool": str(folder / "spool")})
        jobs = [job(folder, number) for number in range(count)]
        connection = Connection(options, held.fileno(), folder)
        yield Spool(connection, options), jobs
        connection.close()


def job(folder: Path, number: int) -> Job:
    """One of them, of which all is here that it has written so far."""
    uid = f"00000000-0000-4000-8000-{number:012}"
    there, here = folder / "spool" / uid, folder / "work" / uid
    for place in (there, here):
        (place / "logs").mkdir(parents=True)
        for file, size in {"journal": 300, "job.log": 100, "logs/main.0.log": 1000, "logs/main.0.times": 100}.items():
            (place / file).write_text("x" * size)
    return Job(number, uid, str(there), home=str(here))


def look(spool: Spool, jobs: list[Job]) -> float:
    """Seconds of one look, by which all must have been seen."""
    began = time.perf_counter()
    if (seen := spool.follow(jobs)) != len(jobs):
        raise SystemExit(f"one look has seen {seen} of {len(jobs)} jobs")
    return time.perf_counter() - began


def main() -> None:
    """Print one line for each number of jobs."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for count in map(int, sys.argv[1:] or ("200", "1000")):
        with site(count) as (spool, jobs):
            quiet = min(look(spool, jobs) for _ in range(3))
            for each in jobs[:WRITE]:
                with Path(each.folder, "logs", "main.0.log").open("a") as log:
                    log.write("one more line\n")
            wrote = look(spool, jobs)
        print(f"{count} jobs run: a look takes {quiet:.2f} s, and {wrote:.2f} s when {min(count, WRITE)} have written")


if __name__ == "__main__":
    main()
