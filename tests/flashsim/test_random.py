"""The random numbers: known answers, independence of order, and the distributions."""

import numpy as np
import pytest
from scipy import stats

from flashlink.flashsim.random import Stream, philox

#: From the known-answer file that the authors of Philox publish with Random123: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, result):
    words = philox(tuple(np.array([word], dtype=np.uint64) for word in counter), key)
    assert tuple(int(word[0]) for word in words) == result


def test_numbers_depend_on_event_and_particle_only():
    stream = Stream(5, "test")
    event = np.repeat(np.arange(3000), 5)
    particle = np.tile(np.arange(5), 3000)
    whole = stream.normal(event, particle, 7)
    order = np.random.default_rng(0).permutation(len(event))
    np.testing.assert_array_equal(stream.normal(event[order], particle[order], 7), whole[:, order])
    np.testing.assert_array_equal(stream.normal(event[9000:9010], particle[9000:9010], 7), whole[:, 9000:9010])
    np.testing.assert_array_equal(stream.uniform(event, particle, 3), stream.uniform(event, particle, 9)[:3])


@pytest.mark.parametrize("other", [Stream(6, "test"), Stream(5, "tesu")])
def test_seed_and_step_matter(other):
    events = np.arange(1000)
    ours, theirs = (stream.uniform(events, 0, 1)[0] for stream in (Stream(5, "test"), other))
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.1
    assert not np.isin(ours, theirs).any()


def test_large_event_numbers_do_not_alias():
    numbers = Stream(1, "test").uniform([1, 1 + 2**32, 1 + 2**40], 0, 1)[0]
    assert len(set(numbers)) == 3


def test_distributions():
    numbers = Stream(1, "test").uniform(np.arange(200_000), 3, 2)
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert stats.kstest(numbers[0], "uniform").pvalue > 1e-3
    normal = Stream(1, "test").normal(np.arange(200_000), 3, 3)
    for row in normal:
        assert stats.kstest(row, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(normal) - np.eye(3)).max() < 0.01
