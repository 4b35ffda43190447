"""Primary vertex, ghosts and photons by learned models and by tables, each beside the same detailed simulation.

Both are made of the same training, and simulate the same events, which neither has seen:

    .venv/bin/python benchmarks/learned_against_binned.py GENERATED REFERENCE REFERENCE_PHOTONS TABLES [MODELS]

GENERATED and the two reference samples are files of the events to compare, TABLES what ``flashlink parameterize
--photons`` wrote, MODELS a folder of ``flashlink train``; those that come with flashlink by default.
"""

import sys
from pathlib import Path

import numpy as np

from flashlink.flashsim.chunks import read_chunks
from flashlink.flashsim.photons import calorimeter_z, simulate_photons
from flashlink.flashsim.samples import GENERATED, PHOTONS, RECONSTRUCTED
from flashlink.flashsim.simulate import read_parameterizations, simulate
from flashlink.flashsim.validation.distances import distances, pulls
from flashlink.flashsim.validation.efficiencies import efficiencies, ghost_rate
from flashlink.flashsim.validation.sample import Pair
from flashlink.flashsim.validation.separation import separation

SEED = 8

GROUPS = ("vertex", "ghost", "photon")


def main() -> None:
    """Print the figures of both, group by group."""
    paths = [Path(word) for word in sys.argv[1:]]
    generated = read_chunks(paths[:1], GENERATED)
    reference, clusters = read_chunks(paths[1:2], RECONSTRUCTED), read_chunks(paths[2:3], PHOTONS)
    z = calorimeter_z(paths[2])
    for name, path in (("binned", paths[3]), ("learned", paths[4] if len(paths) > 4 else None)):
        learned, _ = read_parameterizations(path)
        if learned.photons is None:
            raise SystemExit(f"{path}: has no photons")
        flash, photons = simulate(generated, learned, SEED), simulate_photons(generated, learned.photons, SEED)
        report(name, Pair.of(generated, reference, flash).with_photons(clusters, photons, z))


def report(name: str, pair: Pair) -> None:
    """Print how far a simulation is from the reference."""
    rate = ghost_rate(pair)
    print(
        f"{name}: {pair.events} events, seed {SEED}; ghosts an event {rate.flash:.3f}, reference {rate.reference:.3f}"
    )
    everywhere = list(distances(pair))
    for group, ours, theirs in pair.groups():
        if group in GROUPS:
            found = [one for one in everywhere if one.group == group]
            worst = max(found, key=lambda one: one.distance)
            tested = separation(group, ours.conditions | ours.variables, theirs.conditions | theirs.variables)
            mean = np.mean([one.distance for one in found if not one.bin.condition])
            print(
                f"  {group}: AUC {tested.auc:.3f} +- {tested.error:.3f}, distances {mean:.4f} on average over all rows"
            )
            print(f"    largest {worst.distance:.3f}, {worst.variable} in {worst.bin}; told by", end=" ")
            print(", ".join(f"{variable} {by:.2f}" for variable, by in tested.by[:3]))
    for pull in pulls(pair):
        if not pull.bin.condition and pull.parameter not in ("x", "y", "tx", "ty", "qop"):
            print(f"  pull {pull.parameter}: {pull.flash:.3f}, reference {pull.reference:.3f}")
    shares = [one for one in efficiencies(pair) if one.what == "photon"]
    off = [abs(one.flash - one.reference) for one in shares]
    print(
        f"  photons with a cluster: differ by {max(off):.3f} at most in {len(off)} bins, {np.mean(off):.4f} on average"
    )


if __name__ == "__main__":
    main()
