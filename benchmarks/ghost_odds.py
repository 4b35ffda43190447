"""The log odds of ghosts in ``geometry.toml``: a logistic regression on long tracks of b-quark pairs.

Run: .venv/bin/python benchmarks/ghost_odds.py GENERATED.parquet
"""

import sys
from pathlib import Path

import numpy as np

from flashlink.flashsim.files import read
from flashlink.flashsim.reference.geometry import default_geometry
from flashlink.flashsim.reference.passage import transport
from flashlink.flashsim.reference.tracks import find_tracks
from flashlink.flashsim.samples import GENERATED, LONG

SEED = 5


def main() -> None:
    """Print the log odds."""
    particles = read(Path(sys.argv[1]), GENERATED)
    particles = {name: values[particles["stable"]] for name, values in particles.items()}
    geometry = default_geometry()
    tracks = find_tracks(particles, transport(particles, geometry, SEED), geometry, SEED)
    features = tracks.features[:, tracks.category == LONG]
    ghost = tracks.ghost[tracks.category == LONG]
    matrix = np.vstack([np.ones_like(ghost, dtype=float), features]).T
    odds = np.zeros(5)
    for _ in range(30):  # Newton's method
        probability = 1 / (1 + np.exp(-matrix @ odds))
        curvature = (matrix * (probability * (1 - probability))[:, None]).T @ matrix
        odds += np.linalg.solve(curvature, matrix.T @ (ghost - probability))
    print(
        "log_odds =", [round(float(value), 2) for value in odds], f"of {len(ghost)} tracks, {ghost.mean():.3f} ghosts"
    )


if __name__ == "__main__":
    main()
