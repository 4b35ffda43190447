from __future__ import annotations

from flashlink.plugin.backoff import Backoff


def test_pauses_grow_to_a_minute_and_start_again_after_a_success():
    backoff = Backoff()
    assert [backoff.failed("call", 0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.went_well("call")
    assert backoff.failed("call", 0.0) == 1


def test_a_failure_can_be_worth_another_try_sooner():
    backoff = Backoff()
    assert [backoff.failed("call", 0.0, 5.0) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_each_thing_has_its_own_pause():
    backoff = Backoff()
    backoff.failed("a", 100.0)
    assert not backoff.ready("a", 100.9)
    assert backoff.ready("a", 101.0)
    assert backoff.ready("b", 100.0)
