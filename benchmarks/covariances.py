"""Ten million sampled covariances: how many are not positive definite, and how well conditioned the worst is.

Run: .venv/bin/python benchmarks/covariances.py [MILLIONS [PARAMETERIZATIONS]]

PARAMETERIZATIONS is a folder of models or a file of tables; the models that come with flashlink by default. The tracks,
ghosts among them, are what is counted; vertices of their events and clusters of their photons are looked at besides.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flashlink.flashsim.generate import generate
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.photons import simulate_photons
from flashlink.flashsim.samples import CLUSTER_COVARIANCE
from flashlink.flashsim.simulate import read_parameterizations, simulate
from flashlink.flashsim.states import covariances, symmetric, vertex_covariances

SEED, EVENTS = 1, 1000


@dataclass
class Seen:
    """Matrices of one kind.

    Attributes:
        count: How many.
        failed: Those that are not positive definite.
        least: The smallest eigenvalue of a correlation matrix.
    """

    count: int = 0
    failed: int = 0
    least: float = np.inf

    def look(self, matrices: Floats) -> None:
        """Count some more, shape (n, k, k)."""
        # As correlations: x in mm and q/p in 1/MeV differ by many orders of magnitude.
        sigma = np.sqrt(np.einsum("nii->ni", matrices))
        smallest = np.linalg.eigvalsh(matrices / sigma[:, :, None] / sigma[:, None, :])[:, 0]
        self.failed += int((~(smallest > 0)).sum())
        self.least = min(self.least, float(smallest.min(initial=np.inf)))
        self.count += len(matrices)


def main() -> None:
    """Simulate the same events over and over, with other random numbers, and look at every covariance."""
    wanted = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 10_000_000
    learned, _ = read_parameterizations(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    particles = generate(EVENTS, 0, SEED).columns
    tracks, vertices, clusters = Seen(), Seen(), Seen()
    start = time.process_time()
    while tracks.count < wanted:
        made = simulate(particles, learned, SEED)
        tracks.look(covariances(made))
        first = first_rows(made["event"])
        vertices.look(vertex_covariances({name: made[name][first] for name in made if name.startswith("pv_cov")}))
        if learned.photons is not None:
            clusters.look(symmetric(simulate_photons(particles, learned.photons, SEED), CLUSTER_COVARIANCE, 3))
        particles["event"] = particles["event"] + EVENTS
    print(f"{time.process_time() - start:.0f} s of one core, seed {SEED}")
    for name, seen in (("tracks", tracks), ("vertices", vertices), ("clusters", clusters)):
        print(f"{name}: {seen.count:,} covariances, {seen.failed} not positive definite,", end=" ")
        print(f"smallest eigenvalue of a correlation matrix {seen.least:.2e}")


if __name__ == "__main__":
    main()
