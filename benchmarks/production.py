"""Generator, flash simulation and reference detector side by side: rates, start-up, memory, growth, two processes.

All in one run on one machine, by processor time on one core where nothing else is said; each figure stands beside the
peer that it is measured against and what is wanted of it.

Run: .venv/bin/python benchmarks/production.py [EVENTS [TIMES]]; memory is that of samples up to TIMES as long
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pythia8mc

from flashlink.flashsim.files import Columns, write_parts
from flashlink.flashsim.generate import BLOCK, Production, generate
from flashlink.flashsim.oversampling import copies
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.photons import parameterize_photons, photons_of, simulate_photons
from flashlink.flashsim.pythia import B_TO_JPSI_K
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.photons import reconstruct_photons
from flashlink.flashsim.samples import GENERATED
from flashlink.flashsim.simulate import read_parameterizations, simulate

SEED, TRAINING_SEED = 1, 2

#: A process of its own that simulates a sample so many times over; says its processor time and its memory.
_WORK = """
import json, pickle, re, sys, time
started = time.process_time()
from flashlink.flashsim.simulate import read_parameterizations, simulate
imported = time.process_time() - started
with open(sys.argv[1], "rb") as file:
    particles = pickle.load(file)
models, _ = read_parameterizations(None)
def simulated(times):
    start = time.process_time()
    for seed in range(times):
        tracks = simulate(particles, models, seed)
    return time.process_time() - start
simulated(1)
wall = time.perf_counter()
seconds = simulated(int(sys.argv[2]))
print(json.dumps({"cpu": seconds, "wall": time.perf_counter() - wall, "import": imported,
                  "memory": int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024}))
"""

#: A process of its own that runs `flashlink`; says its largest memory, KiB.
_COMMAND = """
import re, sys
from flashlink.cli import main
if main(sys.argv[1:]):
    sys.exit(1)
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""

Result = TypeVar("Result")


def typical(work: Callable[[], object]) -> float:
    """Processor seconds that `work` takes: the median of five times, after one that does not count."""
    work()
    return float(np.median([timed(work)[1] for _ in range(5)]))


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` returns, and the processor seconds that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def bare_pythia() -> pythia8mc.Pythia:
    """Pythia by itself with the settings of the generator."""
    pythia = pythia8mc.Pythia("", False)
    for setting in (
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {SEED}",
        *B_TO_JPSI_K.settings,
        "521:mayDecay = off",
    ):
        pythia.readString(setting)
    pythia.init()
    return pythia


def charged(sample: Columns) -> int:
    """Particles that a detector has to simulate."""
    return int((sample["stable"] & (sample["charge"] != 0)).sum())


def line(name: str, value: str, peer: str = "", wanted: str = "") -> None:
    """One figure."""
    print(f"| {name} | {value} | {peer} | {wanted} |", flush=True)


class Followed:
    """Pythia as the generator drives it, and a bare one that makes each batch of collisions too.

    The bare one starts from the same random numbers, right before or right after: so both make the same collisions, and
    see the machine alike.

    Args:
        pythia: The generator's.

    Attributes:
        alone: Processor seconds of the bare one's collisions.
        aside: All that it took, which is not the generator's.
    """

    def __init__(self, pythia: Any) -> None:
        self.alone = self.aside = 0.0
        self._pythia, self._bare, self._first = pythia, bare_pythia(), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pythia, name)

    def nextBatch(self, count: int, mode: str) -> Any:  # noqa: N802  # Pythia's name
        """Those of the generator, and elsewhere the same."""
        state = self._pythia.rndm.getState()
        self._first = not self._first
        if self._first:
            self._follow(state, count)
        batch = self._pythia.nextBatch(count, mode)
        if not self._first:
            self._follow(state, count)
        return batch

    def _follow(self, state: Any, count: int) -> None:
        start = time.process_time()
        self._bare.rndm.setState(state)
        self.alone += timed(lambda: [self._bare.next() for _ in range(count)])[1]
        self.aside += time.process_time() - start


def generator(events: int) -> tuple[list[Columns], float, float]:
    """The parts of a sample, and the processor seconds of our generator and of Pythia alone."""
    list(Production(BLOCK, 0, TRAINING_SEED).parts())
    production = Production(events, 0, SEED)
    ours = production._source.generator
    ours._pythia = followed = Followed(ours._pythia)
    parts, both = timed(lambda: list(production.parts()))
    return parts, both - followed.aside, followed.alone


def processes(particles: Columns) -> None:
    """Start-up, memory, growth with the number of events, and two processes at once."""
    import pickle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.pickle"  # our own bytes, read back at once
        with path.open("wb") as file:
            pickle.dump(particles, file)

        def work(times: int) -> dict[str, float]:
            command = [sys.executable, "-c", _WORK, str(path), str(times)]
            answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            return answer

        few, many = work(4), work(16)
        line("start-up: import of the simulation", f"{few['import']:.2f} s of processor time", wanted="below 0.5 s")
        ratio = many["cpu"] / few["cpu"]
        line("4 times the events", f"{ratio:.2f} times the time", "4", "linear")
        line(
            "memory of a process that simulates", f"{many['memory']:.0f} MiB", f"{few['memory']:.0f} MiB for a quarter",
            "below 500 MiB",
        )  # fmt: skip
        with ThreadPoolExecutor() as pool:
            both = list(pool.map(work, (16, 16)))
        gain = 2 * many["cpu"] / max(found["cpu"] for found in both)
        cores = len(os.sched_getaffinity(0))
        line("two processes at once", f"{gain:.2f} times one, by processor time", f"{cores} cores", "2")


def command_memory(particles: Columns, times: int) -> None:
    """The largest memory of `flashlink simulate`, of the sample and of files of so many times its events."""
    lengths = [length for length in (1, 4, 16, 64, 256) if length <= times]
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        sample, many, output = (Path(folder) / f"{name}.parquet" for name in ("sample", "many", "flash"))
        write_parts(sample, [particles], GENERATED, {})
        for length in lengths:
            write_parts(many, copies([sample], length), GENERATED, {})
            words = ["simulate", str(many), "--seed", str(SEED), "--output", str(output)]
            found = subprocess.run([sys.executable, "-c", _COMMAND, *words], capture_output=True, text=True, check=True)
            peaks.append(int(found.stdout) / 1024)
    line(
        f"memory of `flashlink simulate`, {', '.join(map(str, lengths))} times the events",
        ", ".join(f"{peak:.0f}" for peak in peaks) + " MiB", f"{peaks[-1] / peaks[0]:.2f} times", "below 500 MiB",
    )  # fmt: skip


def main() -> None:
    """Print the figures as a table."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, seed {SEED}")
    load = os.getloadavg()[0]
    print(f"{events} events; {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the start")
    training = generate(max(events // 2, 500), 0, TRAINING_SEED).columns
    tables = parameterize(training, reconstruct(training, TRAINING_SEED)[0])
    z = default_geometry().calorimeter.z
    binned_photons = parameterize_photons(training, reconstruct_photons(training, TRAINING_SEED), z)
    parts, ours, alone = generator(events)
    generated, whole = timed(lambda: generate(events, 0, SEED))
    particles = generated.columns
    models, _ = read_parameterizations(None)
    assert models.photons is not None
    flash, photons = 0.0, 0.0
    for part in parts:
        flash += typical(lambda: simulate(part, models, SEED))  # noqa: B023  # called at once
        photons += typical(lambda: simulate_photons(part, models.photons, SEED))  # noqa: B023
    binned = typical(lambda: simulate(particles, tables, SEED))
    binned_clusters = typical(lambda: simulate_photons(particles, binned_photons, SEED))
    _, reference = timed(lambda: reconstruct(particles, SEED))
    _, clusters = timed(lambda: reconstruct_photons(particles, SEED))
    number, lights = charged(particles), len(photons_of(particles)["event"])

    line("figure", "flashlink", "peer in this run", "wanted")
    print("|---|---|---|---|")
    line("bare Pythia", f"{events / alone:,.0f} events/s", f"{generated.tried} collisions")
    line("generate", f"{events / ours:,.0f} events/s", f"{alone / ours:.1%} of bare Pythia")
    line("generate, start of Pythia included", f"{events / whole:,.0f} events/s")
    line(
        "flash simulation, tracks by learned models", f"{number / flash:,.0f} particles/s",
        f"reference {number / reference:,.0f}; flash {reference / flash:.0f} times", "100,000 or more",
    )  # fmt: skip
    line("flash simulation, tracks by tables", f"{number / binned:,.0f} particles/s")
    line(
        "flash simulation, photons by learned models", f"{lights / photons:,.0f} photons/s",
        f"reference {lights / clusters:,.0f}",
    )  # fmt: skip
    line("flash simulation, photons by tables", f"{lights / binned_clusters:,.0f} photons/s")
    total = ours + flash + photons
    line(
        "generate, tracks and photons by learned models", f"{events / total:,.0f} events/s",
        f"{alone / total:.1%} of bare Pythia", "85 % or more",
    )  # fmt: skip
    processes(particles)
    command_memory(particles, times)
    line("memory of this run", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    line(
        "particles an event",
        f"{number / len(np.unique(particles['event'])):.1f} charged, {lights / events:.1f} photons",
    )


if __name__ == "__main__":
    main()
