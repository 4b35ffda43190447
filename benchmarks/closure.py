"""The flash simulation against the reference detector on held-out events: long efficiency by species and momentum.

Run: .venv/bin/python benchmarks/closure.py [EVENTS]
"""

import sys
from itertools import pairwise

import numpy as np

from flashlink.flashsim.files import Columns
from flashlink.flashsim.generate import generate
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import SPECIES, Condition
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.samples import LONG
from flashlink.flashsim.simulate import simulate

SEED, TRAINING_SEED = 1, 2

#: Momentum in GeV.
EDGES = (2, 5, 10, 20, 50, 200)


def long_tracks(particles: Columns, tracks: Columns) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the particles have a long track."""
    row = rows_of(particles["event"], particles["particle"], tracks["event"], tracks["particle"])
    return (row >= 0) & (tracks["category"][row] == LONG)


def main() -> None:
    """Print efficiencies, and their difference in units of its error, that of the training included."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    training, held_out = generate(events, 0, TRAINING_SEED).columns, generate(events, 0, SEED).columns
    tables = parameterize(training, reconstruct(training, TRAINING_SEED)[0])
    stable = held_out["stable"] & (held_out["charge"] != 0)
    particles = {name: column[stable] for name, column in held_out.items()}
    reference = long_tracks(particles, reconstruct(held_out, SEED)[0])
    flash = long_tracks(particles, simulate(held_out, tables, SEED))
    condition = Condition.of(particles)
    acceptance = (condition.eta > 2) & (condition.eta < 5)
    print(f"{events} events to train and {events} others, seeds {TRAINING_SEED} and {SEED}; 2 < eta < 5")
    print("| p [GeV] | " + " | ".join(SPECIES) + " |")
    print("|---" * (len(SPECIES) + 1) + "|")
    for low, high in pairwise(EDGES):
        inside = acceptance & (condition.log_p > np.log10(low) + 3) & (condition.log_p < np.log10(high) + 3)
        cells = []
        for number in range(len(SPECIES)):
            chosen = inside & (condition.species == number)
            ours, theirs = flash[chosen].mean(), reference[chosen].mean()
            error = np.sqrt(3 * theirs * (1 - theirs) / chosen.sum())
            cells.append(f"{ours:.3f} / {theirs:.3f} ({(ours - theirs) / error:+.1f})")
        print(f"| {low} to {high} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
