import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.flashsim.parameterizations.grid import Axis, Library, count, merged_cells, shrink


def test_interpolation_by_chance_is_linear_on_average():
    axis = Axis("x", (0.0, 1.0, 2.0, 4.0))
    table = np.array([1.0, 3.0, -2.0])
    for value, expected in ((-5, 1.0), (0.5, 1.0), (0.75, 1.5), (1.5, 3.0), (2.25, 0.5), (9, -2.0)):
        uniform = (np.arange(10_000) + 0.5) / 10_000
        mean = table[axis.interpolate(np.full(10_000, value), uniform)].mean()
        assert mean == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_every_value_has_a_bin(values):
    values = np.array(values)
    for axis in (Axis.uniform("x", values, 0.1 + np.ptp(values) / 50), Axis.quantiles("x", values, (0.2, 0.9))):
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


def test_shrinking_follows_the_counts_where_there_are_many_and_the_neighbours_where_there_are_few():
    counts = np.zeros((2, 5, 5, 2))
    counts[0] = [90.0, 10.0]
    counts[1] = [9000.0, 1000.0]
    counts[1, 2, 2] = [0.0, 5000.0]
    counts[0, 2, 2] = 0
    probability = shrink(counts, [(0,), ()], cells=(1, 2), strength=2)
    assert probability.sum(axis=-1) == pytest.approx(1)
    assert probability[1, 2, 2, 1] > 0.99
    assert probability[0, 2, 2, 1] == pytest.approx(0.1, abs=0.02)


def test_what_training_never_had_stays_impossible():
    counts = np.zeros((3, 2, 2, 3))
    counts[..., :2] = 5
    assert (shrink(counts, [(0,), ()], cells=(1, 2), strength=10)[..., 2] == 0).all()


def test_a_library_gives_vectors_of_the_class_and_of_near_cells():
    random = np.random.default_rng(1)
    classes, cell = random.integers(0, 2, 5000), random.integers(0, 10, 5000)
    library, rows = Library.fit(classes, (cell,), (10,), np.array([0, 1, 0]), least=30, most=2000, sides=(1.0,))
    wanted_class, wanted_cell = random.integers(0, 3, 1000), random.integers(0, 10, 1000)
    drawn = rows[library.draw(wanted_class, (wanted_cell,), random.uniform(size=1000))]
    assert (classes[drawn] == np.array([0, 1, 0])[wanted_class]).all(), "class 2 falls back to 0"
    assert np.abs(cell[drawn] - wanted_cell).max() <= 1


def test_count():
    assert count((2, 3), np.array([0, 1, 1]), np.array([2, 0, 0])).tolist() == [[0, 0, 1], [2, 0, 0]]
