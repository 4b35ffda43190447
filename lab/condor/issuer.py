"""A token issuer, as an OpenID provider is for machines: discovery, keys, client credentials and refresh tokens.

    python3 lab/condor/issuer.py ADDRESS KEYS

Serves https://ADDRESS:8443 with the certificate ``host.pem`` and ``host.key`` of the folder KEYS and signs with its
``issuer.key``. Its one client is ``flashlink`` with the secret ``lab``; a request may say how long its token lives
(``lifetime``, seconds), which no real provider lets one do. While KEYS holds a file ``refuse``, no token is given.
"""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

CLIENT, SECRET, SUBJECT = "flashlink", "lab", "flashlink"
LIFETIME = 1200


def encoded(content: bytes) -> str:
    """Base64 as JSON web tokens have it."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer:
    """Signs tokens.

    Args:
        address: Of this service.
        keys: The folder of keys and certificates.
    """

    def __init__(self, address: str, keys: Path) -> None:
        self.url = f"https://{address}:8443"
        self.keys = keys
        self.refresh_tokens: set[str] = set()
        modulus = self._openssl("rsa", "-modulus", "-noout").decode().strip().partition("=")[2]
        self.jwks = {"keys": [{"kty": "RSA", "kid": "lab", "alg": "RS256", "use": "sig",
                               "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}]}  # fmt: skip

    def token(self, audience: str, scope: str, lifetime: int = LIFETIME) -> str:
        """A SciToken that is valid from now on."""
        now = int(time.time())
        head = {"alg": "RS256", "kid": "lab", "typ": "JWT"}
        body = {"iss": self.url, "sub": SUBJECT, "aud": audience, "scope": scope, "wlcg.ver": "1.0",
                "iat": now, "nbf": now, "exp": now + lifetime, "jti": str(uuid.uuid4())}  # fmt: skip
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
        return f"{signed}.{encoded(self._openssl('dgst', '-sha256', '-sign', given=signed.encode()))}"

    def _openssl(self, command: str, *options: str, given: bytes = b"") -> bytes:
        key = [] if command == "dgst" else ["-in"]
        words = ["openssl", command, *options, *key, str(self.keys / "issuer.key")]
        return subprocess.run(words, input=given, stdout=subprocess.PIPE, check=True).stdout


class Handler(http.server.BaseHTTPRequestHandler):
    """The routes."""

    issuer: Issuer

    def do_GET(self) -> None:
        """Discovery and keys."""
        url = self.issuer.url
        known = {
            "/.well-known/openid-configuration": {
                "issuer": url, "jwks_uri": f"{url}/jwks", "token_endpoint": f"{url}/token",
                "grant_types_supported": ["client_credentials", "refresh_token"],
            },
            "/jwks": self.issuer.jwks,
        }  # fmt: skip
        self._answer(200, known[self.path]) if self.path in known else self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        """``/token``: client credentials, or a refresh token, which is used up and replaced."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = dict(urllib.parse.parse_qsl(content))
        if (self.issuer.keys / "refuse").exists():
            self._answer(503, {"error": "temporarily_unavailable"})
        elif self.path != "/token" or not self._authenticated(asked):
            self._answer(401, {"error": "invalid_client", "error_description": "unknown client or wrong secret"})
        elif asked.get("grant_type") == "refresh_token" and asked.get("refresh_token") not in self._valid():
            self._answer(400, {"error": "invalid_grant", "error_description": "the refresh token is not valid"})
        else:
            self._give(asked)

    def _valid(self) -> set[str]:
        """The first refresh token is a file; those that were given later are known to this process."""
        first = self.issuer.keys / "refresh"
        return self.issuer.refresh_tokens | ({first.read_text().strip()} if first.exists() else set())

    def _give(self, asked: dict[str, str]) -> None:
        lifetime = int(asked.get("lifetime", LIFETIME))
        token = self.issuer.token(asked.get("audience", ""), asked.get("scope", ""), lifetime)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}
        if asked["grant_type"] == "refresh_token":
            (self.issuer.keys / "refresh").unlink(missing_ok=True)
            self.issuer.refresh_tokens.discard(asked["refresh_token"])
            answer["refresh_token"] = str(uuid.uuid4())
            self.issuer.refresh_tokens.add(str(answer["refresh_token"]))
        self._answer(200, answer)

    def _authenticated(self, asked: dict[str, str]) -> bool:
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        in_body = (asked.get("client_id"), asked.get("client_secret")) == (CLIENT, SECRET)
        return in_body or self.headers.get("Authorization") == f"Basic {basic}"

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(address: str, keys: Path) -> None:
    """Serve until the process is ended."""
    Handler.issuer = Issuer(address, keys)
    server = http.server.ThreadingHTTPServer((address, 8443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "host.pem", keys / "host.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
