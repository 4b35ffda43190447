"""The flash simulation against the reference detector, on particles that the tables have not seen."""

import numpy as np
import pytest

from flashlink.flashsim.gun import fire
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterize import parameterize, residuals
from flashlink.flashsim.reference import reconstruct
from flashlink.flashsim.samples import LONG
from flashlink.flashsim.simulate import simulate

pytestmark = pytest.mark.slow

SHARES = {211: 0.5, 321: 0.2, 13: 0.15, 2212: 0.1, 11: 0.05}


def guns(count, first_event, seed):
    """Particles of all species, even in log p from 2 to 100 GeV and in eta from 1.7 to 5.2."""
    shots = []
    for number, (pdg, share) in enumerate(SHARES.items()):
        first = first_event + number * 100_000
        shots.append(fire(int(count * share), pdg, (2e3, 1e5), (1.7, 5.2), seed, first_event=first))
    return {name: np.concatenate([shot[name] for shot in shots]) for name in shots[0]}


class Matched:
    """A reconstructed sample seen from the generated particles."""

    def __init__(self, generated, tracks):
        self.tracks = tracks
        self.row = rows_of(generated["event"], generated["particle"], tracks["event"], tracks["particle"])
        self.long = (self.row >= 0) & (tracks["category"][self.row] == LONG)
        self.condition = Condition.of(generated)
        made = {name: column[self.row[self.long]] for name, column in tracks.items()}
        self.made = residuals(made, {name: column[self.long] for name, column in generated.items()})
        self.pull = self.made.residual / np.sqrt(np.einsum("nii->ni", self.made.covariance))

    def of(self, column, chosen):
        return self.tracks[column][self.row[chosen & self.long]]


@pytest.fixture(scope="module")
def both():
    """Reference and flash of the same particles."""
    training, held_out = guns(120_000, 0, 1), guns(60_000, 10_000_000, 2)
    tables = parameterize(training, reconstruct(training, 1)[0])
    return Matched(held_out, reconstruct(held_out, 2)[0]), Matched(held_out, simulate(held_out, tables, 3))


def share_agrees(reference, flash, least=200, floor=0.01):
    """Two shares of the same particles agree within their errors, training's included, and `floor`."""
    if len(reference) < least:
        return True
    share = reference.mean()
    error = np.sqrt(2.5 * max(share * (1 - share), 1 / len(reference)) / len(reference))
    return abs(flash.mean() - share) < 3 * error + floor


def test_efficiencies_by_species_momentum_and_pseudorapidity(both):
    reference, flash = both
    condition = reference.condition
    for species in range(5):
        for low in np.arange(3.3, 4.9, 0.2):
            for eta in (1.7, 2.2, 3.2, 4.2, 4.7):
                bin_ = (condition.species == species) & (condition.log_p >= low) & (condition.log_p < low + 0.2)
                bin_ &= (condition.eta >= eta) & (condition.eta < eta + 0.5)
                assert share_agrees(reference.long[bin_], flash.long[bin_], floor=0.03), (species, low, eta)


def test_resolutions_pulls_and_tails(both):
    condition = both[0].condition
    for low, high in ((3.3, 3.7), (3.7, 4.2), (4.2, 4.6), (4.6, 5.0)):
        widths, pulls, tails = [], [], []
        for sample in both:
            inside = (condition.log_p[sample.long] >= low) & (condition.log_p[sample.long] < high)
            inside &= np.isin(condition.species[sample.long], (1, 2, 3, 4))
            widths.append(np.quantile(np.abs(sample.made.residual[inside]), 0.683, axis=0))
            pulls.append(np.quantile(np.abs(sample.pull[inside]), 0.683, axis=0))
            tails.append((np.abs(sample.pull[inside]) > 4).mean(axis=0))
        assert widths[1] == pytest.approx(widths[0], rel=0.07)
        assert pulls[1] == pytest.approx(pulls[0], rel=0.05)
        assert pulls[1] == pytest.approx(1, abs=0.1)
        # Decays in flight: up to 1 % of the momenta are far off.
        assert tails[1] == pytest.approx(tails[0], abs=0.004)


def test_correlations_of_residuals(both):
    reference, flash = (np.corrcoef(np.clip(sample.pull, -4, 4).T) for sample in both)
    assert flash == pytest.approx(reference, abs=0.03)


def test_kaon_and_muon_identification(both):
    condition = both[0].condition
    for species in (1, 2, 3, 4):
        for low in np.arange(3.3, 4.9, 0.2):
            bin_ = (condition.species == species) & (condition.log_p >= low) & (condition.log_p < low + 0.2)
            for threshold in (0, 5):
                shares = [sample.of("dll_k", bin_) > threshold for sample in both]
                assert share_agrees(*shares, floor=0.03), (species, low, threshold)
            shares = [sample.of("is_muon", bin_) for sample in both]
            assert share_agrees(*shares, floor=0.02), (species, low)


def test_likelihoods_belong_together(both):
    reference, flash = both
    for species in (1, 2, 3, 4):
        chosen = reference.condition.species == species
        names = ("dll_e", "dll_mu", "dll_k", "dll_p")
        matrices = [
            np.corrcoef([np.clip(sample.of(name, chosen), -50, 50) for name in names]) for sample in (reference, flash)
        ]
        assert matrices[1] == pytest.approx(matrices[0], abs=0.08), species
