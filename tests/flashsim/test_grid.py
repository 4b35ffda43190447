import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.flashsim.parameterizations.counts import Level, count, refined
from flashlink.flashsim.parameterizations.grid import Axis
from flashlink.flashsim.parameterizations.library import Library, merged_cells


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_every_value_has_a_bin(values):
    values = np.array(values)
    for axis in (Axis.following("x", values, 7), Axis.quantiles("x", values, (0.2, 0.9))):
        bins = axis.locate(values)
        assert bins.min() >= 0
        assert bins.max() < axis.bins


@given(st.lists(st.integers(0, 40), min_size=24, max_size=24), st.integers(1, 60))
def test_merged_cells_are_boxes_with_enough_entries(entries, least):
    counts = np.array(entries).reshape(4, 6)
    boxes = merged_cells(counts, least, (1.0, 1.0))
    for number in range(boxes.max() + 1):
        inside = np.argwhere(boxes == number)
        assert len(inside) == np.prod(np.ptp(inside, axis=0) + 1), "not a box"
        assert counts[boxes == number].sum() >= min(least, counts.sum())


def test_bins_are_narrow_where_the_values_are_and_nowhere_wide():
    values = np.append(np.random.default_rng(1).normal(0, 0.1, 10_000), [-5, 5])
    edges = np.array(Axis.following("x", values, 50).edges)
    assert len(edges) == 51
    assert edges[0] == -5
    assert np.diff(edges).max() <= 2 * 10 / 50 * 1.01
    assert np.diff(edges)[np.searchsorted(edges, 0) - 1] < 0.02


LEVELS = (Level((0,), 2), Level((0,), 0), Level((1,), 0), Level((), 2))


def test_many_counts_speak_for_themselves():
    counts = np.zeros((2, 9, 9, 2))
    counts[...] = [900_000.0, 100_000.0]
    counts[1, 4, 4] = [0.0, 500_000.0]
    probability = refined(counts, (*LEVELS, Level((), 0)), cells=(1, 2), strength=10)
    assert probability.sum(axis=-1) == pytest.approx(1)
    assert probability == pytest.approx(counts / counts.sum(axis=-1, keepdims=True), abs=0.001)


def test_a_rare_species_keeps_the_steep_shape_that_the_others_have_shown():
    edge = np.where(np.arange(20) < 10, 0.02, 0.6)[:, None]
    number = np.stack([np.full((20, 20), 10_000.0), np.full((20, 20), 5.0)])
    share = np.stack([np.broadcast_to(edge, (20, 20)), np.broadcast_to(edge, (20, 20)) * 1.4])
    made = np.random.default_rng(3).binomial(number.astype(int), share)
    probability = refined(np.stack([number - made, made], axis=-1), LEVELS, cells=(1, 2), strength=10)[1, :, :, 1]
    assert probability[9].mean() < 0.05
    assert probability[10].mean() == pytest.approx(0.84, abs=0.1)


def test_what_training_never_had_stays_impossible():
    counts = np.zeros((3, 2, 2, 3))
    counts[..., :2] = 5
    assert (refined(counts, LEVELS, cells=(1, 2), strength=10)[..., 2] == 0).all()


@given(st.lists(st.integers(0, 3), min_size=2 * 3 * 4 * 3, max_size=2 * 3 * 4 * 3))
def test_probabilities_whatever_the_counts(entries):
    counts = np.array(entries, dtype=float).reshape(2, 3, 4, 3) + np.array([1, 0, 0]) * (not any(entries))
    probability = refined(counts, LEVELS, cells=(1, 2), strength=10)
    assert (probability >= 0).all()
    assert probability.sum(axis=-1) == pytest.approx(1)


def test_a_library_gives_the_nearest_vectors_of_the_class_in_its_box():
    random = np.random.default_rng(1)
    classes, cell, log_p = random.integers(0, 2, 5000), random.integers(0, 10, 5000), random.uniform(3, 5, 5000)
    library, rows = Library.fit(
        classes, log_p, (cell,), (10,), np.array([0, 1, 0]), window=7, least=200, most=2000, sides=(1.0,)
    )
    assert sorted(rows) == sorted(set(rows)), "no vector comes twice"
    wanted_class, wanted_cell, wanted = (
        random.integers(0, 3, 1000), random.integers(0, 10, 1000), random.uniform(2.9, 5.1, 1000)
    )  # fmt: skip
    drawn = rows[library.draw(wanted_class, wanted, (wanted_cell,), random.uniform(size=1000))]
    assert (classes[drawn] == np.array([0, 1, 0])[wanted_class]).all(), "class 2 falls back to 0"
    assert np.abs(cell[drawn] - wanted_cell).max() <= 2
    # Some 200 vectors over a range of 2: the fourth neighbour is some 0.04 away.
    assert np.abs(log_p[drawn] - wanted.clip(log_p.min(), log_p.max())).max() < 0.2
    assert np.abs(log_p[drawn] - wanted).mean() < 0.05


def test_a_library_without_training_says_so():
    library, _ = Library.fit(
        np.zeros(0, dtype=int), np.zeros(0), (np.zeros(0, dtype=int),), (3,), np.array([0]),
        window=5, least=10, most=100, sides=(1.0,),
    )  # fmt: skip
    assert library.draw(np.array([0]), np.array([4.0]), (np.array([1]),), np.array([0.5])) == [-1]


def test_count():
    assert count((2, 3), np.array([0, 1, 1]), np.array([2, 0, 0])).tolist() == [[0, 0, 1], [2, 0, 0]]
