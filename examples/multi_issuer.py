"""Several issuers: an Auth0 tenant with two APIs (two audiences), and a partner's RFC 9068 authorization server.

Run it: uvicorn examples.multi_issuer:app
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI

from authz_middleware import AccessToken, AuthzMiddleware, TrustedIssuer, access_token, authenticated, policy, requires

Caller = Annotated[AccessToken, Depends(access_token)]

# The web shop's API: RBAC with "Add Permissions in the Access Token", and every client is ours.
shop = TrustedIssuer.auth0(
    "acme.eu.auth0.com",
    audience="https://shop.acme.example/",
    dialects=["access_token_authz"],
    third_party_clients=set(),
)

# The API for partners, at the same tenant: other clients, another dialect. The audience tells the two apart.
partners = TrustedIssuer.auth0(
    "acme.eu.auth0.com",
    audience="https://partners.acme.example/",
    dialects=["rfc9068_profile_authz"],
    first_party_clients={"acme-back-office"},
)

# A carrier whose machines report to us: standard tokens, and no more than these scopes, whatever its server writes.
carrier = TrustedIssuer(
    "https://login.carrier.example",
    audience="https://shop.acme.example/",
    rbac_enforced=False,
    grants={"read:orders", "write:orders", "write:shipments"},
)

app = FastAPI(title="Orders", openapi_url=None)
app.add_middleware(AuthzMiddleware, issuers=[shop, partners, carrier])


@app.get("/me")
@authenticated
async def whoami(caller: Caller) -> dict[str, str]:
    issuer, subject = caller.identity  # the pair: another issuer's "jo" is somebody else
    return {"issuer": issuer, "subject": subject, "dialect": caller.dialect}


@app.get("/orders")
@requires("read:orders")
async def list_orders() -> list[str]:
    return ["order 1", "order 2"]


@app.post("/shipments", status_code=202)
@requires(policy.any_of("ship:orders", policy.scope("write:orders") & policy.scope("write:shipments")))
async def report_shipment(caller: Caller) -> dict[str, str]:
    return {"reported_by": caller.issuer}
