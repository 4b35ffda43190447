from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashlink.jobscript.quote import quote

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))


@settings(max_examples=40, deadline=None)
@given(st.lists(texts | st.text("'\"\\$`!*?[]{}()<>|&;~# \t\n\r=a"), min_size=1, max_size=20))
def test_bash_reads_back_what_was_quoted(words: list[str]) -> None:
    script = f"LC_ALL=C\nprintf '%s\\0' {' '.join(map(quote, words))}\n"
    run = subprocess.run(["bash", "-s"], input=script.encode(), capture_output=True, check=True)
    assert run.stdout == b"".join(word.encode() + b"\0" for word in words)
    assert run.stderr == b""


@given(texts)
def test_it_is_one_word(text: str) -> None:
    assert shlex.split(quote(text)) == [text]


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")
