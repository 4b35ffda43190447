"""Records of steps."""

import pytest

from flashlink.errors import RequestError
from flashlink.flashsim.records import read_record, recording


def test_a_record_tells_what_the_step_did(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLINK_SITE", "padova")
    monkeypatch.setenv("FLASHLINK_POD_NAME", "generate-3")
    with recording("generate", tmp_path / "r.json", seed=4) as record:
        record.events = 10
        sum(range(2_000_000))
    back = read_record(tmp_path / "r.json")
    assert (back.step, back.events, back.seed, back.site, back.pod) == ("generate", 10, 4, "padova", "generate-3")
    assert back.cpu_seconds > 0
    assert back.cpu_seconds <= back.wall_seconds + 0.1
    assert back.started.endswith("+00:00")


def test_a_failed_step_leaves_no_record(tmp_path):
    with pytest.raises(ValueError, match="broken"), recording("generate", tmp_path / "r.json"):
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"events": 3}', '{"step": "x", "events": "many"}'])
def test_what_is_not_a_record_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RequestError, match=r"r\.json: not the record of a step"):
        read_record(tmp_path / "r.json")
