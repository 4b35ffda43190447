"""The answers of other plugins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.client import answers
from flashlink.errors import SiteError


@pytest.mark.parametrize(
    "answer",
    [
        {"PodUID": "u", "PodJID": "7"},
        {"PodUID": "u", "PodJID": 7},
        [{"PodUID": "u", "PodJID": "7"}],
        {"PodJID": "7"},
        {"JID": "7"},
        "7",
        7,
    ],
)
def test_every_known_shape_of_a_create_answer(answer: object) -> None:
    assert answers.create_answer(answer, "u", "e").PodJID == "7"


@pytest.mark.parametrize(
    "answer", [None, {}, [], "", {"PodUID": "other", "PodJID": "7"}, {"PodUID": "u"}, [1, 2], True]
)
def test_an_answer_without_a_job_id_is_garbage(answer: object) -> None:
    with pytest.raises(SiteError, match="the job id of pod u was expected"):
        answers.create_answer(answer, "u", "e")


def test_statuses_of_sloppy_plugins() -> None:
    containers = [
        {"name": "a", "state": {"terminated": {"finishedAt": ""}}},
        {"name": "b", "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}, "ready": True},
        {"name": "c", "state": {"waiting": {}}},
        {"name": "d"},
    ]
    (status,) = answers.statuses([{"name": "p", "UID": "u", "containers": containers, "initContainers": None}], "e")
    a, b, c, d = status.containers
    assert a.state.terminated is not None
    assert (a.state.terminated.exitCode, a.state.terminated.finishedAt) == (0, None)
    assert b.state.running is not None
    assert b.ready
    assert c.state.waiting is not None
    assert d.state.waiting is not None
    assert status.initContainers == []


def test_one_status_alone_and_none() -> None:
    assert answers.statuses({"UID": "u"}, "e")[0].UID == "u"
    assert answers.statuses(None, "e") == []


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["containers", "state", "terminated", "name", "exitCode", "UID"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_garbage(answer: object) -> None:
    try:
        read = len(answers.statuses(answer, "e"))
    except SiteError as error:
        assert "is it an interLink plugin?" in str(error)  # noqa: PT017
    else:
        assert read == (len(answer) if isinstance(answer, list) else 0 if answer is None else 1)
