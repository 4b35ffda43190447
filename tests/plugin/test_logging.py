from __future__ import annotations

import json
import logging

import pytest
import structlog

from flashlink.plugin.logging import configure


@pytest.fixture(autouse=True)
def restored():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def fail(secret: str) -> None:
    raise ValueError("a defect")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("log", [structlog.get_logger, logging.getLogger])
def test_a_traceback_is_shown_without_the_values_of_variables(capsys, as_json, log):
    configure(json=as_json)
    try:
        fail("pass" + "word")
    except ValueError:
        log("test").error("request failed", exc_info=True)
    shown = capsys.readouterr().err
    assert "request failed" in shown
    assert "ValueError: a defect" in shown
    assert "password" not in shown
    if as_json:
        assert shown.count("\n") == 1
        assert json.loads(shown)["level"] == "error"
