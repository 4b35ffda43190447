"""Rates of the generator, against bare Pythia of the same settings, and of the reference detector, by processor time.

Run: .venv/bin/python benchmarks/production.py [EVENTS]
"""

import platform
import sys
import time

import pythia8mc

from flashlink.flashsim.generate import SETTINGS, generate
from flashlink.flashsim.gun import fire
from flashlink.flashsim.reference import reconstruct

SEED = 1


def bare(collisions: int) -> float:
    """Processor seconds that Pythia alone needs for as many collisions, after its initialisation."""
    pythia = pythia8mc.Pythia("", False)
    for setting in ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {SEED}", *SETTINGS):
        pythia.readString(setting)
    pythia.init()
    start = time.process_time()
    for _ in range(collisions):
        pythia.next()
    return time.process_time() - start


def main() -> None:
    """Print the rates."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    generate(1, 0, SEED)
    start = time.process_time()
    generated = generate(events, 0, SEED)
    ours = time.process_time() - start
    alone = bare(generated.tried)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, seed {SEED}")
    print(f"generate: {events / ours:.0f} events/s, {generated.tried / ours:.0f} collisions/s, initialisation included")
    print(f"bare Pythia: {generated.tried / alone:.0f} collisions/s; generate reaches {alone / ours:.1%} of it")
    for what, particles in (
        ("b-quark pairs", generated.columns),
        ("pions", fire(40_000, 211, (2e3, 1e5), (2, 4.5), SEED)),
    ):
        count = int(particles["stable"].sum())
        start = time.process_time()
        reconstruct(particles, SEED)
        print(f"reference, {what}: {count / (time.process_time() - start):.0f} particles/s")


if __name__ == "__main__":
    main()
