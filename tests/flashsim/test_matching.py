import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flashlink.flashsim.matching import first_rows, pairs, rows_of
from flashlink.flashsim.parameterize import match
from flashlink.flashsim.samples import LONG, UPSTREAM

EVENTS = st.lists(st.integers(0, 6), max_size=30)


@given(EVENTS, EVENTS)
def test_pairs_are_all_combinations_within_an_event(left, right):
    left, right = np.array(left, int), np.sort(np.array(right, int))
    expected = {(i, j) for i in range(len(left)) for j in range(len(right)) if left[i] == right[j]}
    found = list(zip(*(rows.tolist() for rows in pairs(left, right)), strict=True))
    assert set(found) == expected
    assert len(found) == len(expected)


@given(st.lists(st.tuples(st.integers(-3, 2**60), st.integers(-1, 5)), unique=True, max_size=30), st.data())
def test_rows_of_finds_each_row_and_nothing_else(table, data):
    wanted = data.draw(st.lists(st.tuples(st.integers(-3, 2**60), st.integers(-1, 9)), max_size=20)) + table
    columns = np.array(table, int).reshape(-1, 2).T
    keys = np.array(wanted, int).reshape(-1, 2).T
    rows = rows_of(keys[0], keys[1], columns[0], columns[1])
    assert rows.tolist() == [table.index(pair) if pair in table else -1 for pair in wanted]


def test_first_rows():
    assert first_rows(np.array([4, 4, 7, 9, 9])).tolist() == [0, 2, 3]
    assert first_rows(np.array([], int)).tolist() == []


def test_of_several_tracks_of_a_particle_the_first_is_its_category(trained):
    generated, reference, _ = trained
    row = int(np.flatnonzero(reference["category"] == LONG)[3])
    order = np.insert(np.arange(len(reference["event"])), row + 1, row)
    twice = {name: column[order] for name, column in reference.items()}
    twice["category"][row + 1] = UPSTREAM
    before, after = match(generated, reference), match(generated, twice)
    assert len(after.tracks["event"]) == len(before.tracks["event"]) + 1
    assert (after.category == before.category).all()
