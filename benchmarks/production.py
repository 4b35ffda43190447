"""Rates of generator, flash simulation and reference detector side by side, by processor time on one core.

Run: .venv/bin/python benchmarks/production.py [EVENTS]
"""

import platform
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pythia8mc

from flashlink.flashsim.files import Columns
from flashlink.flashsim.generate import BLOCK, Source, generate
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.pythia import B_TO_JPSI_K
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.simulate import read_parameterizations, simulate

SEED, TRAINING_SEED = 1, 2

Result = TypeVar("Result")


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


def main() -> None:
    """Print the rates."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, seed {SEED}, one core")
    training = generate(max(events // 2, 500), 0, TRAINING_SEED).columns
    tables = parameterize(training, reconstruct(training, TRAINING_SEED)[0])
    pythia, source = bare_pythia(), Source(SEED)
    list(source.particles(events, 1))
    ours = alone = 0.0
    # In turns, so that both see the machine alike.
    for first in range(0, events, BLOCK):
        before = source.tried
        ours += timed(lambda: list(source.particles(first, min(BLOCK, events - first))))[1]  # noqa: B023  # called at once
        alone += timed(lambda: [pythia.next() for _ in range(source.tried - before)])[1]  # noqa: B023
    generated, whole = timed(lambda: generate(events, 0, SEED))
    particles = generated.columns
    models, _ = read_parameterizations(None)
    for parameterizations in (models, tables):
        simulate(particles, parameterizations, SEED)
    _, flash = timed(lambda: simulate(particles, models, SEED))
    _, binned = timed(lambda: simulate(particles, tables, SEED))
    _, reference = timed(lambda: reconstruct(particles, SEED))

    number = charged(particles)
    print(f"bare Pythia        {events / alone:12,.0f} events/s ({generated.tried} collisions for {events} events)")
    print(
        f"flashlink generate {events / ours:12,.0f} events/s, {alone / ours:.1%} of bare Pythia, files and tables aside"
    )
    print(f"learned models     {number / flash:12,.0f} particles/s, {events / flash:,.0f} events/s")
    print(f"binned tables      {number / binned:12,.0f} particles/s, {events / binned:,.0f} events/s")
    print(
        f"reference detector {number / reference:12,.0f} particles/s; models are {reference / flash:.0f} times as fast"
    )
    print(f"generate + flash   {events / (ours + flash):12,.0f} events/s, {alone / (ours + flash):.1%} of bare Pythia")
    print(f"the whole of flashlink generate, initialisation of Pythia included: {events / whole:,.0f} events/s")
    print(f"peak memory        {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:12,.0f} MiB")
    print(f"particles an event {number / len(np.unique(particles['event'])):12.1f}")


if __name__ == "__main__":
    main()
