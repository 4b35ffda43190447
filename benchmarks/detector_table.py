"""What the reference detector makes of single pions, beside what LHCb's public networks of 2016 answer.

Run: .venv/bin/python benchmarks/detector_table.py [PIONS A MOMENTUM]
"""

import sys

import numpy as np

from flashlink.flashsim.gun import fire
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.report.fits import sigma68
from flashlink.flashsim.samples import LONG, UPSTREAM

SEED = 1

#: p in GeV: long efficiency, upstream efficiency, sigma68(dx) in um, sigma68(dp/p) in %, median quoted error of p in %;
#: pions from the primary vertex with 2.2 < eta < 4.5.
PUBLIC = {
    3: (0.554, 0.198, 158, 0.50, 0.33),
    5: (0.631, 0.158, 94, 0.40, 0.35),
    10: (0.716, 0.114, 51, 0.40, 0.40),
    20: (0.760, 0.081, 29, 0.40, 0.45),
    50: (0.796, 0.054, 18, 0.51, 0.51),
    100: (0.802, 0.043, 16, 0.73, 0.59),
}


def measured(momentum: float, pions: int) -> tuple[float, ...]:
    """The numbers of `PUBLIC` for the reference detector."""
    particles = fire(pions, 211, (990 * momentum, 1010 * momentum), (2.2, 4.5), SEED)
    tracks, _ = reconstruct(particles, SEED)
    tracks = {name: column[tracks["particle"] >= 0] for name, column in tracks.items()}
    long = {name: column[tracks["category"] == LONG] for name, column in tracks.items()}
    rows = rows_of(long["event"], long["particle"], particles["event"], particles["particle"])
    made = residuals(long, {name: column[rows] for name, column in particles.items()})
    p = 1000 * momentum
    quoted = np.sqrt(made.covariance[:, 4, 4]) * p
    return (
        len(rows) / pions,
        (tracks["category"] == UPSTREAM).sum() / pions,
        1000 * sigma68(made.residual[:, 0]),
        100 * sigma68(made.residual[:, 4] * p),
        100 * float(np.median(quoted)),
    )


def main() -> None:
    """Print the table, ours before theirs."""
    pions = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{pions} pions a momentum, 2.2 < eta < 4.5, seed {SEED}; reference detector / LHCb's public networks")
    print("| p [GeV] | long efficiency | upstream | sigma68(x) [um] | sigma68(p)/p [%] | quoted [%] |")
    print("|---|---|---|---|---|---|")
    for momentum, public in PUBLIC.items():
        formats = (".2f", ".2f", ".0f", ".2f", ".2f")
        cells = [
            f"{ours:{form}} / {theirs:{form}}"
            for ours, theirs, form in zip(measured(momentum, pions), public, formats, strict=True)
        ]
        print(f"| {momentum} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
