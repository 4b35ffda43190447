"""Ten million sampled covariances: how many are not positive definite, and how well conditioned the worst is.

Run: .venv/bin/python benchmarks/covariances.py [MILLIONS]
"""

import sys
import time

import numpy as np

from flashlink.flashsim.generate import generate
from flashlink.flashsim.parameterize import parameterize
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.simulate import simulate
from flashlink.flashsim.states import covariances

SEED, TRAINING_SEED, EVENTS = 1, 2, 1000


def main() -> None:
    """Simulate the same events over and over, with other random numbers, and look at every covariance."""
    wanted = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 10_000_000
    training = generate(EVENTS, 0, TRAINING_SEED).columns
    tables = parameterize(training, reconstruct(training, TRAINING_SEED)[0])
    particles = generate(EVENTS, 0, SEED).columns
    seen = failed = 0
    least = np.inf
    start = time.process_time()
    while seen < wanted:
        matrices = covariances(simulate(particles, tables, SEED))
        # As correlations: x in mm and q/p in 1/MeV differ by many orders of magnitude.
        sigma = np.sqrt(np.einsum("nii->ni", matrices))
        smallest = np.linalg.eigvalsh(matrices / sigma[:, :, None] / sigma[:, None, :])[:, 0]
        failed += int((~(smallest > 0)).sum())
        least = min(least, float(smallest.min()))
        seen += len(matrices)
        particles["event"] = particles["event"] + EVENTS
    print(f"{seen:,} covariances in {time.process_time() - start:.0f} s, seed {SEED}: {failed} not positive definite")
    print(f"smallest eigenvalue of a correlation matrix {least:.2e}")


if __name__ == "__main__":
    main()
