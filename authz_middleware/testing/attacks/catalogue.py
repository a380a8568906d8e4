"""The attacks: what each sends, and the codes of which one must answer. Data; the forge makes the tokens.

Sources: RFC 8725 section 2, RFC 9068 section 4, RFC 6750 section 2, RFC 9700 section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlencode

from ...errors import Code
from .forge import Forge, twice
from .wire import Attempt

__all__ = ["ATTACKS", "Aim", "Attack", "bearer"]

SIGNATURE_CODES = (Code.BAD_SIGNATURE, Code.WRONG_ALGORITHM)
KEY_CODES = (Code.BAD_SIGNATURE, Code.UNKNOWN_KEY, Code.WRONG_ALGORITHM)
ID_TOKEN_CODES = (Code.ID_TOKEN, Code.WRONG_AUDIENCE, Code.WRONG_TYPE)
FOREIGN_URL = "https://attacker.example/keys"
FOREIGN_ISSUER = "https://attacker.example/"
FOREIGN_AUDIENCE = "https://another-api.example/"
LONG_BYTES = 132 * 1024


class Aim(Enum):
    """What an attack lacks, and so where it must fail."""

    CREDENTIALS = "credentials"
    """It carries no credentials of ours: public routes may answer it."""
    VALIDITY = "validity"
    """It carries bad ones: nobody may answer it, a public route neither."""
    GRANTS = "grants"
    """It carries a good token without the grants: routes that ask for some may not answer it."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to try to get in.

    Attributes:
        name: the id of its test.
        codes: the codes of which one must answer.
        make: what is sent: a bearer token, or a whole attempt.
        aim: where it must fail.
    """

    name: str
    codes: tuple[Code, ...]
    make: Callable[[Forge], str | Attempt]
    aim: Aim = Aim.VALIDITY

    def __str__(self) -> str:
        return self.name


def bearer(token: str, scheme: str = "Bearer") -> Attempt:
    """Return an attempt with a token in the header."""
    return Attempt([(b"authorization", f"{scheme} {token}".encode())])


# --- without credentials of ours --------------------------------------------------------------------------------------


def _without(name: str, make: Callable[[Forge], Attempt]) -> Attack:
    return Attack(name, (Code.MISSING_TOKEN,), make, Aim.CREDENTIALS)


def _in_query(forge: Forge) -> Attempt:
    return Attempt(query=urlencode({"access_token": forge.token(), "token": forge.token()}).encode())


def _in_body(forge: Forge) -> Attempt:
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    return Attempt(form, body=urlencode({"access_token": forge.token()}).encode())


def _in_cookie(forge: Forge) -> Attempt:
    return Attempt([(b"cookie", f"access_token={forge.token()}; Authorization={forge.token()}".encode())])


def _in_other_headers(forge: Forge) -> Attempt:
    token = forge.token().encode()
    names = (b"x-access-token", b"x-forwarded-access-token", b"x-authorization", b"sec-websocket-protocol")
    return Attempt([(name, token) for name in names])


WITHOUT_CREDENTIALS = (
    _without("no-token", lambda _: Attempt()),
    _without("basic-scheme", lambda forge: bearer(forge.token(), "Basic")),
    _without("unknown-scheme", lambda forge: bearer(forge.token(), "Token")),
    _without("token-in-query", _in_query),
    _without("token-in-body", _in_body),
    _without("token-in-cookie", _in_cookie),
    _without("token-in-other-headers", _in_other_headers),
)

# --- a header that is not ours to read --------------------------------------------------------------------------------


def _twice(forge: Forge) -> Attempt:
    return Attempt([*bearer(forge.token()).headers, *bearer(forge.token()).headers])


MALFORMED_HEADERS = (
    Attack("two-authorization-headers", (Code.MALFORMED_HEADER,), _twice),
    Attack("two-tokens-in-one-header", (Code.MALFORMED_HEADER,), lambda forge: f"{forge.token()}, {forge.token()}"),
    Attack("two-spaces", (Code.MALFORMED_HEADER,), lambda forge: f" {forge.token()}"),
    Attack("scheme-alone", (Code.MALFORMED_HEADER,), lambda _: Attempt([(b"authorization", b"Bearer")])),
    Attack("dpop-scheme", (Code.PROOF_REQUIRED,), lambda forge: bearer(forge.token(), "DPoP")),
)

# --- what is no signed token ------------------------------------------------------------------------------------------


def _opaque_jwe(forge: Forge) -> str:
    return forge.encrypted(b"", alg="dir", enc="A256GCM")


SHAPES = (
    Attack("opaque-token", (Code.OPAQUE_TOKEN,), lambda _: "2YotnFZFEjr1zCsicMWpAA"),
    Attack("opaque-encrypted-token", (Code.OPAQUE_TOKEN,), _opaque_jwe),
    Attack(
        "encrypted-token",
        (Code.ENCRYPTED_TOKEN,),
        lambda forge: forge.encrypted(b"wrapped key", alg="RSA-OAEP-256", enc="A256GCM", cty="JWT"),
    ),
    Attack("two-parts", (Code.MALFORMED_TOKEN,), lambda forge: forge.token().rpartition(".")[0]),
    Attack("duplicate-claim", (Code.MALFORMED_TOKEN,), lambda forge: forge.signed(twice(forge.claims(), "sub"))),
    Attack("duplicate-header-member", (Code.MALFORMED_TOKEN,), lambda forge: forge.signed_twice_named("alg")),
    Attack("too-large", (Code.MALFORMED_TOKEN,), lambda forge: forge.token(padding="x" * LONG_BYTES)),
    Attack("crit", (Code.MALFORMED_TOKEN,), lambda forge: forge.with_header(crit=["exp"], exp=1)),
    Attack("unencoded-payload", (Code.MALFORMED_TOKEN,), lambda forge: forge.with_header(b64=False)),
)

# --- who signed it ----------------------------------------------------------------------------------------------------


def _tampered_payload(forge: Forge) -> str:
    header, _, signature = forge.token().split(".")
    _, payload, _ = forge.token(sub="somebody else").split(".")
    return f"{header}.{payload}.{signature}"


def _tampered_signature(forge: Forge) -> str:
    message, _, signature = forge.token().rpartition(".")
    return f"{message}.{'B' if signature.startswith('A') else 'A'}{signature[1:]}"


def _stripped_signature(forge: Forge) -> str:
    return forge.token().rpartition(".")[0] + "."


def _none(name: str) -> Attack:
    return Attack(f"alg-{name}", (Code.WRONG_ALGORITHM,), lambda forge: forge.unsigned(name))


def _embedded(name: str, make: Callable[[Forge], object]) -> Attack:
    return Attack(f"embedded-{name}", KEY_CODES, lambda forge: forge.by_stranger(**{name: make(forge)}))


SIGNATURES = (
    Attack("tampered-payload", SIGNATURE_CODES, _tampered_payload),
    Attack("tampered-signature", SIGNATURE_CODES, _tampered_signature),
    Attack("stripped-signature", SIGNATURE_CODES, _stripped_signature),
    _none("none"),
    _none("None"),
    _none("NONE"),
    _none("nOnE"),
    Attack("alg-none-signed", (Code.WRONG_ALGORITHM,), lambda forge: forge.with_header(alg="none")),
    Attack("alg-missing", (Code.WRONG_ALGORITHM,), lambda forge: forge.with_header(alg=None)),
    Attack("confused-with-pem", SIGNATURE_CODES, lambda forge: forge.confused(forge.public_pem())),
    Attack("confused-with-jwk", SIGNATURE_CODES, lambda forge: forge.confused(forge.public_jwk())),
    Attack("confused-with-nothing", SIGNATURE_CODES, lambda forge: forge.confused(b"")),
    Attack("stranger-under-our-kid", SIGNATURE_CODES, lambda forge: forge.by_stranger()),
    Attack("stranger-without-kid", KEY_CODES, lambda forge: forge.by_stranger(kid=None)),
    Attack("unknown-kid", KEY_CODES, lambda forge: forge.by_stranger(kid="nobody's")),
    _embedded("jwk", lambda forge: forge.stranger_jwk()),
    _embedded("jku", lambda _: FOREIGN_URL),
    _embedded("x5u", lambda _: FOREIGN_URL),
    _embedded("x5c", lambda forge: forge.stranger_chain()),
)

# --- what it says -----------------------------------------------------------------------------------------------------


def _respelt(issuer: str) -> str:
    """Return another issuer that is easily taken for this one."""
    return issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"


CLAIMS = (
    Attack("expired", (Code.EXPIRED,), lambda forge: forge.token(iat=forge.later(-2), exp=forge.later(-1))),
    Attack("never-expires", (Code.INVALID_CLAIM,), lambda forge: forge.token(exp=None)),
    Attack("expires-as-text", (Code.INVALID_CLAIM,), lambda forge: forge.token(exp=str(forge.later(1)))),
    Attack("not-yet-valid", (Code.NOT_YET_VALID,), lambda forge: forge.token(nbf=forge.later(1))),
    Attack(
        "issued-in-the-future", (Code.NOT_YET_VALID,), lambda forge: forge.token(iat=forge.later(1), exp=forge.later(2))
    ),
    Attack("foreign-issuer", (Code.UNTRUSTED_ISSUER,), lambda forge: forge.token(iss=FOREIGN_ISSUER)),
    Attack("respelt-issuer", (Code.UNTRUSTED_ISSUER,), lambda forge: forge.token(iss=_respelt(forge.issuer.issuer))),
    Attack("no-issuer", (Code.INVALID_CLAIM,), lambda forge: forge.token(iss=None)),
    Attack("foreign-audience", (Code.WRONG_AUDIENCE,), lambda forge: forge.token(aud=[FOREIGN_AUDIENCE])),
    Attack("no-audience", (Code.INVALID_CLAIM,), lambda forge: forge.token(aud=None)),
    Attack("no-subject", (Code.INVALID_CLAIM,), lambda forge: forge.token(sub=None)),
    Attack(
        "scope-of-another-type",
        (Code.INVALID_CLAIM,),
        lambda forge: forge.token(**{forge.dialect.scope_claim: {"admin": True}}),
    ),
    Attack("bound-to-a-key", (Code.PROOF_REQUIRED,), lambda forge: forge.token(cnf={"jkt": "0ZcOCORZNYy"})),
    Attack("bound-to-a-certificate", (Code.PROOF_REQUIRED,), lambda forge: forge.token(cnf={"x5t#S256": "bwcK0esc"})),
)

# --- tokens of another kind -------------------------------------------------------------------------------------------

LOGOUT_EVENT: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}


def _type(name: str, typ: str | None, **changes: object) -> Attack:
    return Attack(name, (Code.WRONG_TYPE,), lambda forge: forge.signed(forge.claims(**changes), typ=typ))


KINDS = (
    Attack("id-token", ID_TOKEN_CODES, lambda forge: forge.id_token()),
    Attack("id-token-for-this-api", ID_TOKEN_CODES, lambda forge: forge.id_token_for_this_api()),
    _type("untyped", None),
    _type("refresh-token", "refresh+jwt"),
    _type("logout-token", "logout+jwt", events=LOGOUT_EVENT),
    _type("proof-of-possession", "dpop+jwt"),
    _type("client-assertion", "client-authentication+jwt"),
)

# --- good tokens that do not grant enough -----------------------------------------------------------------------------


def _entitled(name: str, make: Callable[[Forge], str]) -> Attack:
    return Attack(name, (Code.INSUFFICIENT_SCOPE,), make, Aim.GRANTS)


GRANTS = (
    _entitled("no-grants", lambda forge: forge.token()),
    _entitled("openid-scopes", lambda forge: forge.granting(["openid", "profile", "email", "offline_access"])),
    _entitled("wildcards", lambda forge: forge.granting(["*", "*:*", ".*", "%", "admin", "all"])),
    _entitled("lookalike-grants", lambda forge: forge.granting_lookalikes()),
    _entitled("delegated-without-scope", lambda forge: forge.delegated()),
    _entitled("grants-in-other-claims", lambda forge: forge.granting_elsewhere()),
)

ATTACKS: tuple[Attack, ...] = (
    *WITHOUT_CREDENTIALS,
    *MALFORMED_HEADERS,
    *SHAPES,
    *SIGNATURES,
    *CLAIMS,
    *KINDS,
    *GRANTS,
)
"""Every attack of the suite."""
