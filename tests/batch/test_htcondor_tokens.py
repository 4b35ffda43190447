"""Tokens from files and from an OpenID provider, which is the lab's issuer as a process of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch.htcondor import tokens
from flashlink.batch.htcondor.options import OpenID, Options
from flashlink.batch.htcondor.tokens import FileTokens, ProviderTokens, discovered, expiry, source
from flashlink.errors import SiteError

ISSUER = Path(__file__).parents[2] / "lab" / "condor" / "issuer.py"


def token(expires: float) -> str:
    parts = ({"alg": "none"}, {"exp": expires})
    return ".".join([*(tokens.base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), ""])


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


class TestFile:
    def test_a_valid_token_is_no_trouble(self, tmp_path: Path) -> None:
        assert FileTokens(private(tmp_path / "t", token(time.time() + 600))).trouble == ""

    def test_an_expired_one_is_named_with_its_time_and_never_shown(self, tmp_path: Path) -> None:
        path = private(tmp_path / "t", token(1_700_000_000))
        trouble = FileTokens(path).trouble
        assert trouble == f"the token in {path} expired at 2023-11-14 22:13:20 UTC; it has to be renewed"

    def test_it_is_read_again_each_time(self, tmp_path: Path) -> None:
        path = private(tmp_path / "t", token(time.time() - 5))
        given = FileTokens(path)
        assert given.trouble
        path.write_text(token(time.time() + 600))
        assert not given.trouble

    @pytest.mark.parametrize("text", [None, ""])
    def test_a_missing_or_empty_file_is_told(self, tmp_path: Path, text: str | None) -> None:
        if text is not None:
            private(tmp_path / "t", text)
        assert FileTokens(tmp_path / "t").trouble.startswith("no token: ")

    def test_what_is_no_web_token_is_left_to_the_schedd(self, tmp_path: Path) -> None:
        assert FileTokens(private(tmp_path / "t", "opaque")).trouble == ""
        assert expiry("a.b.c") is None
        assert expiry("opaque") is None

    @pytest.mark.parametrize("expires", ["soon", float("nan"), -1e300, True, None])
    def test_an_expiry_that_is_none_is_left_to_the_schedd(self, tmp_path: Path, expires: Any) -> None:
        assert FileTokens(private(tmp_path / "t", token(expires))).trouble == ""

    def test_a_variable_does_not_stand_over_a_file_that_is_named(self, tmp_path: Path) -> None:
        found = FileTokens(tmp_path / "t").environment({"BEARER_TOKEN": "x", "BEARER_TOKEN_FILE": "y", "HOME": "/h"})
        assert found == {"BEARER_TOKEN_FILE": str(tmp_path / "t"), "HOME": "/h"}

    def test_discovery_keeps_wlcgs_order(self, tmp_path: Path) -> None:
        name = f"bt_u{os.geteuid()}"
        private(tmp_path / name, "x")
        environ = {"XDG_RUNTIME_DIR": str(tmp_path), "BEARER_TOKEN_FILE": "/named"}
        assert discovered(environ) == Path("/named")
        del environ["BEARER_TOKEN_FILE"]
        assert discovered(environ) == tmp_path / name
        (tmp_path / name).unlink()
        assert discovered(environ) in (None, Path("/tmp") / name)

    def test_a_token_in_the_environment_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BEARER_TOKEN", token(time.time() - 1))
        assert "the token in BEARER_TOKEN expired" in FileTokens(None).trouble

    def test_without_scitokens_none_is_looked_for(self, tmp_path: Path) -> None:
        assert source(Options(authentication=("IDTOKENS",)), tmp_path).trouble == ""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates as lab/condor/keep makes them, for an address of this test's own."""
    keys = tmp_path_factory.mktemp("keys")
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout host.key -out host.pem"
    subprocess.run(
        f"{request} -addext subjectAltName=IP:{ADDRESS} && openssl genrsa -out issuer.key 2048",
        shell=True, cwd=keys, check=True, capture_output=True,
    )  # fmt: skip
    return keys


ADDRESS = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250 + 1}.77"


@pytest.fixture
def provider(keys: Path) -> Iterator[Any]:
    """The issuer; ``provider(**fields)`` is what a site's file says of it."""
    process = subprocess.Popen([sys.executable, str(ISSUER), ADDRESS, str(keys)], stderr=subprocess.DEVNULL)
    private(keys / "secret", "lab\n")

    def fields(**more: Any) -> OpenID:
        given = {
            "client_id": "flashlink",
            "client_secret_file": str(keys / "secret"),
            "ca_file": str(keys / "host.pem"),
        }
        return OpenID(f"https://{ADDRESS}:8443", audience="https://ce", **{**given, **more})

    limit = time.monotonic() + 20
    while subprocess.run(
        [sys.executable, "-c", f"import socket; socket.create_connection(('{ADDRESS}', 8443)).close()"],
        capture_output=True,
        check=False,
    ).returncode:
        assert time.monotonic() < limit
    yield fields
    process.kill()
    process.wait()
    (keys / "refuse").unlink(missing_ok=True)
    (keys / "refresh").unlink(missing_ok=True)


def claims(text: str) -> dict[str, Any]:
    body = text.split(".")[1]
    return dict(json.loads(tokens.base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


@pytest.mark.slow
class TestProvider:
    def test_client_credentials_give_a_token_for_audience_and_scopes(self, provider: Any, tmp_path: Path) -> None:
        given = ProviderTokens(provider(scopes=("compute.read", "compute.create")), tmp_path)
        assert given.trouble
        given.renew()
        assert given.trouble == ""
        file = tmp_path / "token"
        assert file.stat().st_mode & 0o777 == 0o600
        assert {key: claims(file.read_text())[key] for key in ("aud", "scope")} == {
            "aud": "https://ce",
            "scope": "compute.read compute.create",
        }
        assert given.environment({})["BEARER_TOKEN_FILE"] == str(file)

    def test_it_is_renewed_before_it_expires_and_not_earlier(
        self, provider: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ProviderTokens(provider(), tmp_path)
        given.renew()
        first = (tmp_path / "token").read_text()
        given.renew()
        assert (tmp_path / "token").read_text() == first
        now = time.time()
        monkeypatch.setattr(tokens.time, "time", lambda: now + 1000)
        given.renew()
        assert (tmp_path / "token").read_text() != first

    def test_a_provider_that_fails_is_asked_again_later_and_what_is_valid_stays(
        self, provider: Any, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ProviderTokens(provider(), tmp_path)
        given.renew()
        (keys / "refuse").touch()
        now = time.time()
        monkeypatch.setattr(tokens.time, "time", lambda: now + 1000)
        given.renew()
        assert given.trouble == ""
        monkeypatch.setattr(tokens.time, "time", lambda: now + 1300)
        given.renew()
        assert "it answered 503: temporarily_unavailable" in given.trouble
        (keys / "refuse").unlink()
        given.renew()  # too early: the pause after a failure
        assert given.trouble
        monkeypatch.setattr(tokens.time, "time", lambda: now + 1303)
        given.renew()
        assert "503" not in given._error

    def test_a_provider_that_goes_on_failing_is_asked_more_and_more_rarely(
        self, provider: Any, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ProviderTokens(provider(), tmp_path)
        (keys / "refuse").touch()
        asked: list[int] = []
        post = given._client.post
        now = time.time()

        def noted(*words: Any, **fields: Any) -> Any:
            asked.append(round(tokens.time.time() - now))
            return post(*words, **fields)

        def wanted_at(seconds: float) -> None:
            monkeypatch.setattr(tokens.time, "time", lambda: now + seconds)
            given.renew()

        monkeypatch.setattr(given._client, "post", noted)
        for second in range(250):
            wanted_at(second)
        assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
        (keys / "refuse").unlink()
        wanted_at(303)
        assert given.trouble == ""
        (keys / "refuse").touch()
        asked.clear()
        for second in range(1303, 1306):  # after a success it begins anew
            wanted_at(second)
        assert asked == [1303, 1304]

    def test_a_refresh_token_that_the_provider_replaces_is_kept(
        self, provider: Any, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = private(keys / "refresh", "first")
        own = private(tmp_path / "refresh", "first")
        given = ProviderTokens(provider(refresh_token_file=str(own)), tmp_path)
        given.renew()
        assert given.trouble == ""
        assert not first.exists()  # used up
        kept = tmp_path / "refresh-token"
        assert kept.stat().st_mode & 0o777 == 0o600
        replaced = kept.read_text()
        again = ProviderTokens(provider(refresh_token_file=str(own)), tmp_path)
        now = time.time()
        monkeypatch.setattr(tokens.time, "time", lambda: now + 1185)
        again.renew()
        assert again.trouble == ""
        assert kept.read_text() != replaced

    def test_a_token_outlives_the_plugin(self, provider: Any, tmp_path: Path) -> None:
        ProviderTokens(provider(), tmp_path).renew()
        first = (tmp_path / "token").read_text()
        later = ProviderTokens(provider(), tmp_path)
        assert later.trouble == ""
        later.renew()
        assert (tmp_path / "token").read_text() == first

    def test_a_wrong_secret_is_told_but_not_shown(self, provider: Any, tmp_path: Path) -> None:
        wrong = private(tmp_path / "secret", "not-the-secret")
        given = ProviderTokens(provider(client_secret_file=str(wrong)), tmp_path)
        given.renew()
        assert "it answered 401: invalid_client" in given.trouble
        assert "not-the-secret" not in given.trouble


def test_a_provider_out_of_reach_is_told(tmp_path: Path) -> None:
    secret = private(tmp_path / "secret", "x")
    given = ProviderTokens(OpenID("https://127.0.0.1:9", "me", str(secret)), tmp_path)
    given.renew()
    assert given.trouble.startswith("no valid token from https://127.0.0.1:9: ")


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = private(tmp_path / "secret", "x")
    secret.chmod(0o644)
    with pytest.raises(SiteError, match=r"client_secret_file: others can read .*secret; make it 0600"):
        ProviderTokens(OpenID("https://127.0.0.1:9", "me", str(secret)), tmp_path)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"refresh_token_file: .*No such file"):
        ProviderTokens(OpenID("https://x", "me", refresh_token_file=str(tmp_path / "none")), tmp_path)
