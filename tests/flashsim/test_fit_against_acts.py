"""The track fit against that of ACTS in the same telescope, by what `benchmarks/acts_fit.py` found of ACTS."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "acts_fit.py"))

#: Momentum in GeV to the quoted errors of d0, phi, theta and q/p of ACTS (pyacts 48.1.0, 10,000 muons, seed 1), in the
#: units of the benchmark.
ACTS = {
    2: (48.78, 9.561, 0.7314, 1.471),
    5: (42.97, 4.772, 0.3644, 1.649),
    10: (39.48, 3.066, 0.2389, 2.079),
    50: (36.13, 1.995, 0.1589, 7.374),
}


@pytest.mark.parametrize("momentum", ACTS)
def test_quoted_errors_are_those_of_acts_and_the_residuals_are_as_wide(momentum):
    *errors, pull, quality = BENCHMARK["ours"](momentum, 2000)
    assert errors == pytest.approx(ACTS[momentum], rel=0.04)
    assert pull == pytest.approx(1, abs=0.06)
    assert quality == pytest.approx(1, abs=0.04)
