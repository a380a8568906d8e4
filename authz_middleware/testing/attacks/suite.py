"""`attack_suite`: every attack of the catalogue on every route of an application, as one parametrized test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp

from ...audit import installed_middlewares, route_table
from ...dialects import Dialect
from ...errors import Code, ConfigurationError, Refused
from ...issuers import TrustedIssuer
from ...token import AccessToken
from ...validator import AccessTokenValidator
from ..claims import table_of
from ..issuer import LocalIssuer
from ..settings import is_for
from ..trust import trust
from .catalogue import ATTACKS, Aim, Attack, bearer
from .forge import Forge
from .judge import find_fault
from .targets import Target, targets_of
from .wire import Attempt, ask

__all__ = ["attack_suite"]

MAX_LISTED = 20


def attack_suite(
    app: ASGIApp,
    issuer: LocalIssuer | None = None,
    *,
    dialect: str | Dialect | None = None,
    claims: Mapping[str, object] | None = None,
    path_values: Mapping[str, object] | None = None,
    base_url: str = "http://testserver",
) -> Callable[[Attack], None]:
    """Return a test that attacks every route of an application.

    Write `test_attacks = attack_suite(app)` in a test module. It is parametrized by attack: requests without a token,
    with expired, foreign, tampered, confused, mistyped tokens, and with good ones that grant nothing. Each goes to
    every route, WebSockets and mounted applications included, and must be refused with the right status and code. What
    is public may answer callers without credentials, and nobody else. The application is called directly: no server,
    no network; and where everything is refused, no handler runs. A route that one of your own functions may open to
    such a token (`policy.check`) is not attacked with it; nor is one that asks for a grant which `claims` give, with
    good tokens.

    Not tested: whether your policies are the right ones, and what your handlers check themselves.

    Args:
        app: the application, its `AuthzMiddleware` included.
        issuer: whom it trusts while it is attacked, see `trust`; a new `LocalIssuer()` if left out.
        dialect: the dialect of the tokens; if left out, one the application accepts, with permissions if it can be.
        claims: claims without which a good token is not good here.
        path_values: values for path parameters, by the parameter's name, where its convertor takes them; needed for
            convertors of your own.
        base_url: scheme and host of the requests.

    Raises:
        AssertionError: from the test: an attack was not refused as it must be, or there is nothing to attack.
        ConfigurationError: `base_url` is no URL; or from the test: the application cannot be attacked like this.
    """
    import pytest  # noqa: PLC0415 - the rest of the kit works without it

    if not base_url.startswith(("http://", "https://")):
        raise ConfigurationError('attack_suite: base_url is scheme and host; write base_url="https://api.acme.example"')
    battle = _Battle(app, issuer or LocalIssuer(), dialect, claims or {}, path_values or {}, base_url)

    @pytest.mark.parametrize("attack", ATTACKS, ids=str)
    def test_attacks(attack: Attack) -> None:
        if battle.fight(attack) == 0:
            pytest.skip("no route asks for grants that such a token lacks")

    return test_attacks


@dataclass(frozen=True)
class _Battle:
    """One application under attack; the fields are the arguments of `attack_suite`."""

    app: ASGIApp
    issuer: LocalIssuer
    dialect: str | Dialect | None
    claims: Mapping[str, object]
    path_values: Mapping[str, object]
    base_url: str

    def fight(self, attack: Attack) -> int:
        """Attack every route the attack concerns, and return how many those are.

        Raises:
            AssertionError: somebody got in or was refused in a wrong way, or there is nothing to attack.
        """
        if all(target.is_public for target in self.targets):
            raise AssertionError("attack_suite: no route of this application is guarded, so there is nothing to attack")
        with trust(self.app, self.issuer), start_blocking_portal() as portal:
            count, faults = portal.call(self._storm, attack)
        if faults:
            left_out = f"\n  and {len(faults) - MAX_LISTED} more" if len(faults) > MAX_LISTED else ""
            listing = "\n  ".join(faults[:MAX_LISTED])
            raise AssertionError(f"attack {attack}: not refused as it must be\n  {listing}{left_out}")
        return count

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The application's routes, listed when the first attack begins: some may be declared after the test.

        Raises:
            ConfigurationError: a path parameter has no value, or one that is given a value is nowhere.
        """
        targets = tuple(targets_of(route_table(self.app, sources=False).entries, self.path_values))
        unknown = set(self.path_values).difference(*(target.path_params for target in targets))
        if unknown:
            raise ConfigurationError(f"attack_suite: path_values: no route has a parameter {min(unknown)!r}")
        return targets

    async def _storm(self, attack: Attack) -> tuple[int, list[str]]:
        """Send one attack to every target it concerns; return how many, and what was wrong with the answers."""
        validators = [middleware.validator for middleware in installed_middlewares(self.app)]
        forge = self._forge(validators)
        allowed = {*attack.codes, *await _codes_elsewhere(forge.token(), validators)}
        arsenal = _Arsenal(attack, forge, validators)
        count, faults = 0, []
        for target in self.targets:
            attempt = await arsenal.attempt_on(target)
            if attempt is not None:
                count += 1
                answer = await ask(self.app, target.scope(self.base_url, attempt), attempt.body)
                fault = find_fault(answer, allowed, attempt, target.method)
                faults += [] if fault is None else [f"{target}: {fault}"]
        return count, faults

    def _forge(self, validators: Sequence[AccessTokenValidator]) -> Forge:
        """Return the forge for the settings under which the local issuer is trusted."""
        names = (self.issuer.issuer, self.issuer.audience)
        trusted = next(t for validator in validators for t in validator.issuers if is_for(t, *names))
        return Forge(self.issuer, trusted, self._table(trusted), self.claims)

    def _table(self, trusted: TrustedIssuer) -> Dialect:
        accepted = trusted.settings.dialects  # with the claims the application named
        if self.dialect is None:
            return next((table for table in accepted if table.has_permissions), accepted[0])
        name = table_of(self.dialect).name
        table = next((table for table in accepted if table.name == name), None)
        if table is None:
            raise ConfigurationError(
                f"attack_suite: the application accepts no {name}; write one of {', '.join(t.name for t in accepted)}"
            )
        return table


class _Arsenal:
    """What one attack sends: the same to all targets, or to all that ask for the same grants."""

    def __init__(self, attack: Attack, forge: Forge, validators: Sequence[AccessTokenValidator]) -> None:
        self._attack = attack
        self._forge = forge
        self._validators = validators
        self._made: dict[tuple[str, ...], tuple[Attempt, list[AccessToken]]] = {}

    async def attempt_on(self, target: Target) -> Attempt | None:
        """Return what to send to a target; None: the attack does not concern it."""
        if self._attack.aim is not Aim.GRANTS:
            is_served = self._attack.aim is Aim.CREDENTIALS and target.is_public
            return None if is_served else (await self._make(()))[0]
        if target.is_public or self._forge.is_given(target.wanted):
            return None
        attempt, tokens = await self._make(target.wanted)
        return None if any(target.may_admit(token) for token in tokens) else attempt

    async def _make(self, wanted: tuple[str, ...]) -> tuple[Attempt, list[AccessToken]]:
        """Return an attempt, and how the application reads its token if that is a good one."""
        if wanted not in self._made:
            made = self._attack.make(replace(self._forge, wanted=wanted))
            attempt = made if isinstance(made, Attempt) else bearer(made)
            tokens = (await _read(made, self._validators))[0] if isinstance(made, str) else []
            self._made[wanted] = (attempt, tokens)
        return self._made[wanted]


async def _codes_elsewhere(token: str, validators: Sequence[AccessTokenValidator]) -> list[Code]:
    """Return how a good token is refused by middlewares that do not trust its issuer.

    Raises:
        ConfigurationError: all of them refuse it.
    """
    accepted, refusals = await _read(token, validators)
    if not accepted:
        listing = ", ".join(f"{refused.code}, {refused.reason}" for refused in refusals)
        raise ConfigurationError(
            f"attack_suite: the good token all attacks derive from is refused ({listing}), so that they would prove "
            "nothing; write attack_suite(…, claims={…}) with the claims a token needs here"
        )
    return [refused.code for refused in refusals]


async def _read(token: str, validators: Sequence[AccessTokenValidator]) -> tuple[list[AccessToken], list[Refused]]:
    """Return what each validator makes of a token."""
    accepted, refusals = [], []
    for validator in validators:
        try:
            accepted.append(await validator.validate(token))
        except Refused as refused:
            refusals.append(refused)
    return accepted, refusals
