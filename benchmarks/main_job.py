"""What offloading costs: the main job through interLink's plugin, beside the same workflow in bare Snakemake.

Both run on the same cores, from an empty folder, with the same seed; the samples must come out equal, byte for byte.
Prints the machine, both wall times and their ratio.

    .venv/bin/python benchmarks/main_job.py --events 10000 --cores 2
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SAMPLES = ("flash.parquet", "reference.parquet")


def main() -> int:
    """Run both, print the figures."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="flashlink-benchmark-") as folder:
        offloaded, bare = Path(folder, "offloaded"), Path(folder, "bare")
        seconds = {
            "offloaded": _timed(_offloaded(arguments, offloaded)),
            "bare Snakemake": _timed(_bare(arguments, bare)),
        }
        different = [name for name in SAMPLES if (offloaded / name).read_bytes() != (bare / name).read_bytes()]
    print(f"machine: {platform.processor() or platform.machine()}, {arguments.cores} of {os.cpu_count()} cores")
    print(f"events: {arguments.events}, seed: {arguments.seed}")
    for name, value in seconds.items():
        print(f"{name}: {value:.1f} s, {arguments.events / value:.0f} events/s")
    print(f"ratio offloaded / bare: {seconds['offloaded'] / seconds['bare Snakemake']:.2f}")
    print(f"samples equal: {'no, ' + ', '.join(different) + ' differ' if different else 'yes'}")
    return 1 if different else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _offloaded(arguments: argparse.Namespace, output: Path) -> list[str]:
    numbers = ["--events", str(arguments.events), "--cores", str(arguments.cores), "--seed", str(arguments.seed)]
    return [sys.executable, "-m", "flashlink", "run", *numbers, "--output", str(output)]


def _bare(arguments: argparse.Namespace, output: Path) -> list[str]:
    output.mkdir()
    snakefile = CHECKOUT / "workflow" / "Snakefile"
    config = [f"events={arguments.events}", f"seed={arguments.seed}"]
    place = ["--snakefile", str(snakefile), "--directory", str(output), "--cores", str(arguments.cores)]
    return [sys.executable, "-m", "snakemake", *place, "--quiet", "all", "--config", *config]


def _timed(command: list[str]) -> float:
    """Wall time of a command in a bare environment, as pods have: what steers BLAS would change last digits."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    began = time.monotonic()
    subprocess.run(command, check=True, env={"PATH": path, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"})
    return time.monotonic() - began


if __name__ == "__main__":
    raise SystemExit(main())
