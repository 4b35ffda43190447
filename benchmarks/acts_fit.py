"""The reference detector's track fit beside that of ACTS, in the same telescope: ten planes in a field of 1 T.

Both simulate and fit muons by themselves: ACTS with Fatras and its Kalman filter, flashlink with its transport and its
own. Compared are the median quoted errors at the point closest to the beam, how wide the residuals of q/p are for
them, and chi2/ndf.

Run: pip install pyacts==48.1.0, then .venv/bin/python benchmarks/acts_fit.py [MUONS]
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flashlink.flashsim.gun import fire
from flashlink.flashsim.reference.geometry import Detector, Field, Foil, default_geometry
from flashlink.flashsim.reference.kalman import Fit, Hits, fit
from flashlink.flashsim.reference.passage import transport
from flashlink.flashsim.reference.propagate import bend, straight

SEED = 1
MOMENTA = (2, 5, 10, 50)

#: The telescope: planes of a millimetre of silicon that measure x and y, and where the muons start, mm.
PLANES, RESOLUTION, THICKNESS, HALF_WIDTH, ORIGIN, ETA = tuple(range(1100, 2100, 100)), 0.05, 1.0, 1000, 1090, (3, 3.5)

#: Radiation length of silicon, mm (PDG, atomic and nuclear properties).
SILICON = 93.7

#: What is compared: errors of the impact parameter in mm, of azimuth, of polar angle, relative error of q/p, and of the
#: last the width of its residuals; chi2 over degrees of freedom.
NAMES = ("d0 [um]", "phi [mrad]", "theta [mrad]", "q/p [%]", "pull of q/p", "chi2/ndf")
UNITS = np.array([1e3, 1e3, 1e3, 100, 1, 1])


def ours(momentum: float, muons: int) -> np.ndarray[Any, Any]:
    """The numbers of `NAMES` of the reference detector's fit, for muons of `momentum` GeV."""
    plane = Detector(
        "telescope", "vertex", tuple(float(z) for z in PLANES), radiation=THICKNESS / SILICON, interaction=0,
        half_width=HALF_WIDTH, half_height=HALF_WIDTH, angles=(0, 90), resolution=RESOLUTION, efficiency=1,
    )  # fmt: skip
    geometry = replace(
        default_geometry(), field=Field(1, 1500, 1e9, 2), foil=Foil(radius=1e-3, radiation=0, interaction=0),
        detector=(plane,),
    )  # fmt: skip
    particles = fire(muons, 13, (1e3 * momentum, 1e3 * momentum), ETA, SEED, spot=(0, 0, 0))
    particles |= {"z": particles["z"] + ORIGIN, "multiplicity": np.zeros(muons, dtype=int)}
    passage = transport(particles, geometry, SEED)
    slopes = [particles[name] / particles["pz"] for name in ("px", "py")]
    state = np.stack([particles["x"], particles["y"], *slopes, particles["charge"] / (1e3 * momentum)])
    seeds = bend(straight(state, np.full(muons, PLANES[0] - ORIGIN)), PLANES[0], PLANES[-1], geometry.field)
    fitted = fit(Hits(passage.measured, passage.errors, passage.thickness), seeds, PLANES[-1], geometry)
    return _numbers(*_perigee(fitted, momentum), fitted.chi2 / fitted.ndf)


def _perigee(fitted: Fit, momentum: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Errors of (d0, phi, theta, relative q/p), shape (4, n), and the residuals of the last, shape (n,)."""
    tx, ty = fitted.state[2:4]
    square = tx**2 + ty**2
    jacobian = np.zeros((4, 5, len(tx)))
    jacobian[0, :2] = -ty / np.sqrt(square), tx / np.sqrt(square)
    jacobian[1, 2:4] = -ty / square, tx / square
    jacobian[2, 2:4] = np.stack([tx, ty]) / np.sqrt(square) / (1 + square)
    jacobian[3, 4] = 1e3 * momentum
    variance = np.einsum("ain,ijn,ajn->an", jacobian, fitted.covariance, jacobian)
    return np.sqrt(variance), np.abs(fitted.state[4]) * 1e3 * momentum - 1


def _numbers(
    errors: np.ndarray[Any, Any], residual: np.ndarray[Any, Any], quality: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    pull = np.quantile(np.abs(residual / errors[3]), 0.6827)
    return np.array([*np.median(errors, axis=1), pull, quality.mean()]) * UNITS


def theirs(momentum: float, muons: int) -> np.ndarray[Any, Any]:
    """The numbers of `NAMES` of ACTS."""
    import acts
    from acts import examples
    from acts.examples import reconstruction, simulation

    unit, found = acts.UnitConstants, []
    detector = examples.TelescopeDetector(
        bounds=[HALF_WIDTH] * 2, positions=[float(z) for z in PLANES], stereos=[0.0] * len(PLANES),
        thickness=THICKNESS * unit.mm, rotDirection=2,
    )  # fmt: skip
    geometry, field = detector.trackingGeometry(), acts.ConstantBField(acts.Vector3(0, 1 * unit.T, 0))
    sequencer = examples.Sequencer(events=-(-muons // 50), numThreads=1, logLevel=acts.logging.WARNING)
    random = examples.RandomNumbers(seed=SEED)
    simulation.addParticleGun(
        sequencer,
        simulation.MomentumConfig(momentum * unit.GeV, momentum * unit.GeV, transverse=False),
        simulation.EtaConfig(*ETA, uniform=True),
        simulation.PhiConfig(0, 360 * unit.degree),
        simulation.ParticleConfig(50, acts.PdgParticle.eMuon, True),
        vtxGen=examples.GaussianVertexGenerator(
            mean=acts.Vector4(0, 0, ORIGIN * unit.mm, 0), stddev=acts.Vector4(0, 0, 0, 0)
        ),
        multiplicity=1,
        rnd=random,
    )
    simulation.addFatras(sequencer, geometry, field, rnd=random, enableInteractions=True)
    smearing = [{"index": index, "mean": 0.0, "stddev": RESOLUTION, "type": "Gauss"} for index in (0, 1)]
    header = {"format-version": 0, "value-identifier": "digitization-configuration"}
    entries = [{"volume": 1, "value": {"smearing": smearing}}]
    with tempfile.TemporaryDirectory() as folder:
        digitisation = Path(folder) / "digitisation.json"
        digitisation.write_text(json.dumps({"acts-geometry-hierarchy-map": header, "entries": entries}))
        simulation.addDigitization(sequencer, geometry, field, digiConfigFile=digitisation, rnd=random)
        reconstruction.addSeeding(
            sequencer, geometry, field, seedingAlgorithm=reconstruction.SeedingAlgorithm.TruthSmeared,
            selectedParticles="particles", particleHypothesis=acts.ParticleHypothesis.muon, rnd=random,
        )  # fmt: skip
        perigee = acts.Surface.createPerigee(acts.Vector3(0, 0, 0))
        reconstruction.addKalmanTracks(sequencer, geometry, field, referenceSurface=perigee)

        class Reader(examples.IAlgorithm):  # type: ignore[misc]
            """Keeps what was fitted."""

            def __init__(self) -> None:
                super().__init__(name="Reader", level=acts.logging.WARNING)
                self.tracks = examples.ReadDataHandle(self, examples.ConstTrackContainer, "InputTracks")
                self.tracks.initialize("kf_tracks")

            def execute(self, context: Any) -> Any:
                """Take the tracks of one event."""
                tracks = self.tracks(context.eventStore)
                columns = (tracks.parameters, tracks.covariance, tracks.chi2, tracks.nMeasurements)
                found.append([np.array(column) for column in columns])
                return examples.ProcessCode.SUCCESS

        sequencer.addAlgorithm(Reader())
        sequencer.run()
    parameters, covariance, chi2, hits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Of (loc0, loc1, phi, theta, q/p, time) at a perigee, loc0 is the impact parameter.
    errors = np.sqrt(np.einsum("nii->in", covariance))[[0, 2, 3, 4]] * np.array([1, 1, 1, momentum])[:, None]
    return _numbers(errors, np.abs(parameters[:, 4]) * momentum - 1, chi2 / (2 * hits - 5))


def main() -> None:
    """Print both, momentum by momentum."""
    muons = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{muons} muons a momentum, {ETA[0]} < eta < {ETA[1]}, seed {SEED}; flashlink / ACTS")
    print("| p [GeV] | " + " | ".join(NAMES) + " |")
    print("|---" * (len(NAMES) + 1) + "|")
    for momentum in MOMENTA:
        numbers = zip(ours(momentum, muons), theirs(momentum, muons), strict=True)
        print(f"| {momentum} | " + " | ".join(f"{left:.4g} / {right:.4g}" for left, right in numbers) + " |")


if __name__ == "__main__":
    main()
