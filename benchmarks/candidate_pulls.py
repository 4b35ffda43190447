"""Pulls of true B+ candidates: vertex, momentum, mass and decay time over the errors that their covariance gives.

.venv/bin/python benchmarks/candidate_pulls.py GENERATED RECONSTRUCTED...
"""

import sys
from pathlib import Path

import numpy as np

from flashlink.flashsim.analyse import B_PLUS, CANDIDATE_COVARIANCE, READ, analyse
from flashlink.flashsim.chunks import read_chunks
from flashlink.flashsim.composite import PARAMETERS
from flashlink.flashsim.files import Columns
from flashlink.flashsim.kinematics import LIGHT
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.samples import GENERATED
from flashlink.flashsim.states import symmetric


def main() -> None:
    """Print half the central 68 % of each pull."""
    generated = read_chunks([Path(sys.argv[1])], GENERATED)
    for path in sys.argv[2:]:
        candidates = analyse(read_chunks([Path(path)], READ), generated=generated)
        rows = np.flatnonzero((np.abs(candidates["pdg"]) == B_PLUS) & (candidates["true"] == 1))
        pulls = pulls_of({name: column[rows] for name, column in candidates.items()}, generated)
        print(f"{path}: {len(rows)} true B+, each width has an error of {0.76 / np.sqrt(len(rows)):.2f}")
        print("  " + ", ".join(f"{name} {np.quantile(np.abs(pull), 0.683):.2f}" for name, pull in pulls.items()))


def pulls_of(candidates: Columns, generated: Columns) -> Columns:
    """Pulls of the parameters, of mass and decay time; the truth is that of the kaon's mother."""
    rows = rows_of(candidates["event"], candidates["kaon_particle"], generated["event"], generated["particle"])
    kaon = {name: column[rows] for name, column in generated.items()}
    mother = rows_of(kaon["event"], kaon["mother"], generated["event"], generated["particle"])
    b = {name: column[mother] for name, column in generated.items()}
    true = np.stack([kaon[name] for name in "xyz"] + [b[name] for name in ("px", "py", "pz", "energy")], axis=1)
    sigma = np.sqrt(np.einsum("nii->ni", symmetric(candidates, CANDIDATE_COVARIANCE, len(PARAMETERS))))
    pulls = {name: (candidates[name] - true[:, k]) / sigma[:, k] for k, name in enumerate(PARAMETERS)}
    p2 = np.square(true[:, 3:6]).sum(axis=1)
    mass = np.sqrt(true[:, 6] ** 2 - p2)
    flight = true[:, :3] - np.stack([kaon[f"pv_{axis}"] for axis in "xyz"], axis=1)
    time = mass * (flight * true[:, 3:6]).sum(axis=1) / p2 / LIGHT
    pulls["mass"] = (candidates["mass"] - mass) / candidates["mass_error"]
    pulls["constrained mass"] = (candidates["constrained_mass"] - mass) / candidates["constrained_mass_error"]
    pulls["decay time"] = (candidates["decay_time"] - time) / candidates["decay_time_error"]
    return pulls


if __name__ == "__main__":
    main()
