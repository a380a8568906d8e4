"""Claims whose names the application chooses: what may be named, and the tables of dialects with those names in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ._arguments import ClaimNames, claim_paths
from .dialects import Dialect
from .dialects.model import is_claim_path
from .errors import ConfigurationError

__all__ = ["named_claim_faults", "with_named_claims"]


def named_claim_faults(named: Mapping[str, ClaimNames | None]) -> Iterator[str]:
    """Yield what is wrong with the arguments that name claims, one fault for each."""
    for name, names in named.items():
        if names is None:
            continue
        paths = claim_paths(names)
        if not paths or not all(map(is_claim_path, paths)):
            yield f'{name} takes a claim name, a tuple as path, or a list of these, such as "https://acme.example/roles"'
        elif any(path[0] == "act" for path in paths):
            yield f"{name}: nothing inside act is ever a grant (RFC 8693 section 4.1); name another claim"


def with_named_claims(
    tables: list[Dialect], named: Mapping[str, ClaimNames | None]
) -> tuple[list[Dialect], tuple[str, ...]]:
    """Put the claims the application named into tables; and return the faults that makes, each once.

    What has a fault by itself is left out, and makes no others. Permissions go where the dialects have them, else to
    all.
    """
    usable: dict[str, Any] = {
        name: claim_paths(names)
        for name, names in named.items()
        if names is not None and not list(named_claim_faults({name: names}))
    }
    filled, faults = [], dict[str, None]()
    for table in tables:
        changes = dict(usable)
        if "permissions_claims" in usable:
            # what makes the provider write permissions of its own says nothing of this claim
            changes["permissions_setting"] = None
            if not table.has_permissions and any(other.has_permissions for other in tables):
                del changes["permissions_claims"], changes["permissions_setting"]
        try:
            filled.append(replace(table, **changes))
        except ConfigurationError as error:
            faults.update(dict.fromkeys(error.faults))
            filled.append(table)
    return filled, tuple(faults)
