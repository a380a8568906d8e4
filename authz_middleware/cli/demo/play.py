"""Send one request over HTTP, and find out why it was answered so: the answer's own words, and the policy's.

The reasons are not written down anywhere: a refused token's come from the problem body (RFC 9457), a policy's from
`policy.decide` on the same token, validated once more against the same issuer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx

from ... import AccessToken, AccessTokenValidator
from ...errors import Refused
from ...policy import Access, Decision, Policy, TokenRequest
from ...policy.decision import conclude
from ...token import GrantSet
from .scenarios import Scenario
from .servers import World

__all__ = ["Outcome", "play_all"]

TIMEOUT = 10.0


@dataclass(frozen=True)
class Outcome:
    """One scenario and what came of it. `grants` is None where the token was not accepted."""

    scenario: Scenario
    dialect: str | None
    grants: GrantSet | None
    status: int
    code: str | None
    why: str

    @property
    def is_expected(self) -> bool:
        """Whether the answer is the right one."""
        return (self.status, self.code) == (self.scenario.status, self.scenario.code)


def play_all(world: World, sections: Iterable[Iterable[Scenario]]) -> list[list[Outcome]]:
    """Play every scenario in turn."""
    validator = AccessTokenValidator([world.trusted])
    with (
        httpx.Client(base_url=world.api_url, trust_env=False, timeout=TIMEOUT) as client,
        asyncio.Runner() as runner,
    ):

        def read(credential: str | None) -> AccessToken | None:
            return None if credential is None else runner.run(_read(credential, validator))

        return [[_play(scenario, world, client, read) for scenario in group] for group in sections]


def _play(
    scenario: Scenario, world: World, client: httpx.Client, read: Callable[[str | None], AccessToken | None]
) -> Outcome:
    credential = scenario.mint(world.issuer)
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    response = client.request(*scenario.route, headers=headers)
    problem = {} if response.is_success else response.json()
    token = read(credential)
    return Outcome(
        scenario=scenario,
        dialect=scenario.dialect if token is None else token.dialect,
        grants=None if token is None else token.grants,
        status=response.status_code,
        code=problem.get("code"),
        why=_explain(world.routes[scenario.route], token, problem.get("detail")),
    )


async def _read(credential: str, validator: AccessTokenValidator) -> AccessToken | None:
    try:
        return await validator.validate(credential)
    except Refused:
        return None


def _explain(access: Access | None, token: AccessToken | None, detail: str | None) -> str:
    if token is not None and isinstance(access, Policy):
        return _explain_decision(conclude(access, TokenRequest(token)))
    return detail or f"the route is {access!r}"


def _explain_decision(decision: Decision) -> str:
    """Return which claims carry what a policy asks for, or why it is not met."""
    held = ", ".join(
        f"{term!r} is in {' and '.join(source.claim for source in sources)}" for term, sources in decision.held
    )
    return held if decision.allowed else decision.why
