"""Who gets in: what the middlewares in front of a route, and the mounts between them, let through together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import ConfigurationError
from ..guard import Guard
from ..middleware import AuthzMiddleware
from ..policy import AUTHENTICATED, PUBLIC, Access, Policy, Public
from ..routes import add_up
from .entries import Protection

__all__ = ["BARE", "Front", "Fronts", "Ruling", "behind", "both", "is_bare", "rule", "rule_own", "within"]


@dataclass(frozen=True, slots=True)
class Front:
    """A middleware of ours, and what mounts behind it state, up to the next one.

    Attributes:
        middleware: None for what stands before the first one.
        at: the path it stands at: what it compares with `public_paths` comes after that.
        around: what the mounts state in sum.
        required: what FastAPI routers require in sum of what states something; they open nothing.
    """

    middleware: AuthzMiddleware | None = None
    at: str = ""
    around: Access | None = None
    required: Access | None = None

    def sum_up(self, own: Access | None) -> Access | None:
        """Return what is stated here together with what is stated further in."""
        stated = add_up(self.around, own)
        return None if stated is None else add_up(self.required, stated)

    def decide(self, stated: Access | None, path: str) -> Access | None:
        """Return who gets in by the middleware that decides: the innermost one."""
        if self.middleware is None:
            return PUBLIC if stated is None else None  # what is decorated fails without it
        if not self.middleware.enforces:
            return PUBLIC
        if stated is not None:
            return stated
        if self._opens(path):
            return PUBLIC
        undecorated = self.middleware.undecorated
        return None if undecorated is None else add_up(self.required, undecorated)

    def limit(self, admits: Access | None, below: Access | None, path: str) -> Access | None:
        """Return who of those let in further in gets there at all; `below` is all that this middleware sees stated."""
        if self.middleware is None:
            return admits if self.around is None else None
        if admits is None or not self.middleware.enforces:
            return admits
        if isinstance(admits, Public) and not isinstance(below, Public) and not self._opens(path):
            admits = AUTHENTICATED  # the anonymous do not get past this one
        if isinstance(self.required, Policy) and not (below is None and self._opens(path)):
            admits = add_up(self.required, admits)
        return add_up(self.around, admits) if isinstance(self.around, Policy) else admits

    def _opens(self, path: str) -> bool:
        return self.middleware is not None and path[len(self.at) :] in self.middleware.public_paths


Fronts = tuple[Front, ...]
"""From the outermost to the innermost. The first has no middleware."""
BARE: Fronts = (Front(),)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What there is to say about one route; the fields are those of `RouteEntry`."""

    access: Access | None
    admits: Access | None
    protection: Protection
    is_public_path: bool = False

    def and_then(self, inner: Ruling) -> Ruling:
        """Return what holds where both must be passed."""
        is_lacking = self.protection is Protection.ABSENT
        is_more = self.protection is Protection.REPORTED and self.access != inner.access
        return Ruling(
            access=both(self.access, inner.access),
            admits=both(self.admits, inner.admits),
            protection=self.protection if is_lacking or is_more else inner.protection,
            is_public_path=self.is_public_path and inner.is_public_path,
        )

    def limited_to(self, needed: Access | None) -> Ruling:
        """Return what holds where something more is asked for later, of those who got in."""
        if self.admits is None or not isinstance(needed, Policy):
            return self
        admits = add_up(needed, self.admits)
        return replace(self, access=admits, admits=admits, is_public_path=False)


def behind(fronts: Fronts, layers: Iterable[AuthzMiddleware | Guard], at: str) -> Fronts:
    """Return what is in front behind these layers, which stand at a path.

    Raises:
        ConfigurationError: a middleware was given an argument that cannot be meant.
    """
    for layer in layers:
        if isinstance(layer, AuthzMiddleware):
            if layer.fault is not None:
                raise ConfigurationError(*layer.fault.faults)
            fronts = (*fronts, Front(layer, at))
        else:
            *outer, last = fronts
            fronts = (*outer, replace(last, around=add_up(last.around, layer.stated.access)))
    return fronts


def within(fronts: Fronts, required: Access | None) -> Fronts:
    """Return what is in front where routers around require something, which the middleware further out asks for."""
    *outer, last = fronts
    return (*outer, replace(last, required=add_up(last.required, required)))


def is_bare(fronts: Fronts) -> bool:
    """Tell whether nothing at all stands in front."""
    return fronts == BARE


def rule(fronts: Fronts, own: Access | None, path: str) -> Ruling:
    """Return what holds for something that states `own`, at a path as a request would write it."""
    *outer, last = fronts
    stated = below = last.sum_up(own)
    admits = last.decide(stated, path)
    for front in reversed(outer):
        below = front.sum_up(below)
        admits = front.limit(admits, below, path)
    protection = _protection_of(fronts)
    if protection is not Protection.ENFORCED or stated is not None:
        return Ruling(None if stated is None else below, admits, protection)
    # Nothing is stated where it counts. What is left to say: `public_paths`, or what mounts further out ask for.
    is_said = isinstance(admits, Public) or (admits is not None and all(admits.alternatives))
    return Ruling(admits if is_said else None, admits, protection, isinstance(admits, Public))


def rule_own(fronts: Fronts, path: str) -> Ruling:
    """Return what holds for what the innermost middleware serves by itself, to anybody who gets to it."""
    *outer, _ = fronts
    if is_bare(tuple(outer)):
        return Ruling(PUBLIC, PUBLIC, Protection.ENFORCED)
    ruling = rule(tuple(outer), None, path)
    is_let_out = outer[-1].sum_up(None) is not None or isinstance(ruling.admits, Public)
    return ruling if is_let_out else replace(ruling, access=None, admits=None)


def _protection_of(fronts: Fronts) -> Protection:
    *outer, last = fronts
    if fronts[0].around is not None or last.middleware is None:
        return Protection.ABSENT
    deciding = [last, *(front for front in outer if isinstance(add_up(front.required, front.around), Policy))]
    enforces = all(front.middleware is not None and front.middleware.enforces for front in deciding)
    return Protection.ENFORCED if enforces else Protection.REPORTED


def both(one: Access | None, other: Access | None) -> Access | None:
    """Return who gets in at two places; None, as elsewhere here, is nobody."""
    return None if one is None or other is None else add_up(one, other)
