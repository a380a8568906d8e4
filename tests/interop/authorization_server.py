"""oidc-provider in a process of its own, and clients that obtain tokens from it as real ones do.

Sources: RFC 6749 sections 4.1 and 4.4 (the grants), RFC 7636 section 4 (PKCE), RFC 8707 section 2 (resource),
RFC 9449 section 4 (DPoP proofs).
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

HERE = Path(__file__).parent
RESOURCES = "https://api.test/"
CALLBACK = "https://app.test/callback"
MACHINE_SECRET = "secret-of-a-machine"
START_SECONDS = 60
HTTP_SECONDS = 20


@dataclass(frozen=True)
class Caller:
    """Who asks for a token: a client, for itself (`user` is None) or for a user who logs in and consents."""

    client_id: str
    user: str | None = None


def missing_prerequisite() -> str | None:
    """Say what this machine lacks to run the server, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules" / "oidc-provider").is_dir():
        return "oidc-provider is not installed; run npm install in tests/interop"
    return None


def is_required() -> bool:
    """Tell whether a machine without the server fails these tests instead of skipping them."""
    return os.environ.get("AUTHZ_REQUIRE_INTEROP") == "1"


@dataclass
class AuthorizationServer:
    """A running server. `issued` holds every access token obtained from it, in order."""

    issuer: str
    process: subprocess.Popen[str] = field(repr=False)
    issued: list[str] = field(default_factory=list, repr=False)

    @classmethod
    def start(cls, log: IO[str]) -> Self:
        """Start a server on a port of its choice and wait for the line that says it listens."""
        process = subprocess.Popen(
            ["node", "server.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            return cls(_read_answer(process), process)
        except BaseException:
            _end(process)
            raise

    def stop(self) -> None:
        """End the process."""
        _end(self.process)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Sign with new keys from now on; the old ones stay published."""
        self._command("rotate")

    def withdraw(self) -> None:
        """Publish the newest keys only."""
        self._command("withdraw")

    def _command(self, command: str) -> None:
        _, stdin = _pipes(self.process)
        stdin.write(command + "\n")
        stdin.flush()
        if _read_answer(self.process) != command:
            raise RuntimeError(f"the authorization server did not answer {command}")

    # --- tokens -------------------------------------------------------------------------------------------------------

    def access_token(self, caller: Caller, resource: str | None, scope: str) -> str:
        """Return an access token for a resource; None leaves the resource to the server."""
        if caller.user is None:
            body = self._client_credentials(caller, resource, scope)
        else:
            body = self._authorization_code(caller, caller.user, resource, scope)
        return body["access_token"]

    def id_token(self, caller: Caller, resource: str) -> str:
        """Return the ID token that comes with an access token."""
        if caller.user is None:
            raise ValueError("a client without a user gets no ID token")
        return self._authorization_code(caller, caller.user, resource, "openid")["id_token"]

    def dpop_bound_token(self, caller: Caller, resource: str, scope: str) -> str:
        """Return an access token bound to a key of the client's."""
        headers = {"DPoP": _dpop_proof(f"{self.issuer}/token")}
        return self._client_credentials(caller, resource, scope, headers)["access_token"]

    def _client_credentials(
        self, caller: Caller, resource: str | None, scope: str, headers: dict[str, str] | None = None
    ) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "scope": scope, **_resource(resource)}
        with httpx.Client(timeout=HTTP_SECONDS) as client:
            response = client.post(
                f"{self.issuer}/token", data=form, headers=headers, auth=(caller.client_id, MACHINE_SECRET)
            )
        return self._token_response(response)

    def _authorization_code(self, caller: Caller, user: str, resource: str | None, scope: str) -> dict[str, str]:
        verifier = secrets.token_urlsafe(32)
        with httpx.Client(base_url=self.issuer, timeout=HTTP_SECONDS) as browser:
            form = {
                "grant_type": "authorization_code",
                "client_id": caller.client_id,
                "redirect_uri": CALLBACK,
                "code": self._authorize(browser, caller.client_id, user, resource, scope, verifier),
                "code_verifier": verifier,
                **_resource(resource),
            }
            return self._token_response(browser.post("/token", data=form))

    def _authorize(
        self, browser: httpx.Client, client_id: str, user: str, resource: str | None, scope: str, verifier: str
    ) -> str:
        """Log in, consent, and return the authorization code."""
        request = {
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": scope,
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": _base64url(sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            **_resource(resource),
        }
        login = _location(browser.get("/auth", params=request))
        after_login = _location(browser.post(login, data={"prompt": "login", "login": user, "password": "any"}))
        consent = _location(browser.get(after_login))
        after_consent = _location(browser.post(consent, data={"prompt": "consent"}))
        answer = parse_qs(urlsplit(_location(browser.get(after_consent))).query)
        if answer.get("state") != [request["state"]] or "code" not in answer:
            raise RuntimeError(f"no authorization code: {answer}")
        return answer["code"][0]

    def _token_response(self, response: httpx.Response) -> dict[str, str]:
        if response.status_code != httpx.codes.OK:
            raise RuntimeError(f"no token: {response.text}")
        body: dict[str, str] = response.json()
        self.issued.append(body["access_token"])
        return body


# --- the process ------------------------------------------------------------------------------------------------------


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("the authorization server was started without pipes")
    return process.stdout, process.stdin


def _read_answer(process: subprocess.Popen[str]) -> str:
    """Return the next line. A server that says nothing for too long is killed, which ends the waiting."""
    stdout, _ = _pipes(process)
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        line = stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise RuntimeError("the authorization server ended; its log says why")
    return line.strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in _pipes(process):
        pipe.close()


# --- the protocols ----------------------------------------------------------------------------------------------------


def _resource(resource: str | None) -> dict[str, str]:
    return {} if resource is None else {"resource": resource}


def _location(response: httpx.Response) -> str:
    if not response.is_redirect:
        raise RuntimeError(f"no redirect: {response.status_code} {response.text}")
    return response.headers["location"]


def _dpop_proof(url: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    claims = {"jti": secrets.token_urlsafe(8), "htm": "POST", "htu": url, "iat": int(time.time())}
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwt.encode(claims, key, "ES256", headers={"typ": "dpop+jwt", "jwk": public})


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
