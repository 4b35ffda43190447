"""How often long tracks of each species have is_muon: learned models beside the reference detector.

Run: .venv/bin/python benchmarks/misidentification.py [PARTICLES A SPECIES]
"""

import sys

import numpy as np

from flashlink.flashsim.files import Columns
from flashlink.flashsim.gun import fire
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.samples import LONG
from flashlink.flashsim.simulate import read_parameterizations, simulate

SEED = 1

#: PDG numbers, and ranges of the true momentum in GeV.
SPECIES = {"muon": 13, "pion": 211, "kaon": 321, "proton": 2212}
RANGES = ((3, 6), (6, 10), (10, 30))


def shares(tracks: Columns, particles: Columns) -> list[tuple[float, float]]:
    """The share of long tracks with is_muon in each range, and its statistical error."""
    long = {name: tracks[name][tracks["category"] == LONG] for name in ("event", "particle", "is_muon")}
    row = rows_of(long["event"], long["particle"], particles["event"], particles["particle"])
    p = np.sqrt(sum(particles[axis][row] ** 2 for axis in ("px", "py", "pz"))) / 1000
    found = []
    for low, high in RANGES:
        chosen = long["is_muon"][(row >= 0) & (p > low) & (p < high)]
        share = float(chosen.mean())
        found.append((share, float(np.sqrt(share * (1 - share) / len(chosen)))))
    return found


def main() -> None:
    """Print the table, the models before the reference, with the difference in standard deviations."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    models, _ = read_parameterizations(None)
    print(f"{count} particles a species, 3 to 30 GeV, 2.2 < eta < 4.5, 50 an event, seed {SEED}; models / reference")
    print(f"| is_muon of | {' | '.join(f'{low} to {high} GeV' for low, high in RANGES)} |")
    print("|---" * (1 + len(RANGES)) + "|")
    for name, number in SPECIES.items():
        particles = fire(count, number, (3e3, 3e4), (2.2, 4.5), SEED)
        samples = simulate(particles, models, SEED), reconstruct(particles, SEED)[0]
        cells = [
            f"{ours:.4f} / {theirs:.4f} ({(ours - theirs) / np.hypot(error, other):+.1f})"
            for (ours, error), (theirs, other) in zip(*(shares(tracks, particles) for tracks in samples), strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
