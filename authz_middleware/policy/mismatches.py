"""Why a claim, or who calls, is not what a policy asks for: what is absent, of another type, or simply another.

A clause names nothing of the token.
"""

from __future__ import annotations

from .callers import IdentityTerm
from .claims import ClaimTerm, claim_at, is_yet_unknown, operand_in
from .core import Kind
from .request import AccessRequest

__all__ = ["why_no_match"]


def why_no_match(term: ClaimTerm | IdentityTerm, request: AccessRequest) -> str:
    """Say why the token, or the path, does not match."""
    token = request.token
    if isinstance(term, ClaimTerm) and claim_at(token.claims, term.path) is None:
        return "the token does not carry this claim"
    if term.kind is Kind.TENANT and token.tenant is None:
        return "the token names no tenant"
    if is_yet_unknown(term.operand, request):
        return "the path has no such parameter here"
    return _why_other_claim(term, request) if isinstance(term, ClaimTerm) else _why_other_caller(term, request)


def _why_other_claim(term: ClaimTerm, request: AccessRequest) -> str:
    value = claim_at(request.token.claims, term.path)
    match term.operator:
        case "contains":
            return (
                "the list in this claim has no such entry"
                if isinstance(value, tuple | list)
                else "this claim is no list"
            )
        case "matches":
            return "the text in this claim is another" if isinstance(value, str) else "this claim is no text"
    if _json_type(value) != _json_type(operand_in(request, term.operand)):
        return "this claim is of another type than what it is compared with, such as a number where a text is asked for"
    return "this claim says something else"


def _why_other_caller(term: IdentityTerm, request: AccessRequest) -> str:
    if not isinstance(operand_in(request, term.operand), str):
        return "that parameter of the path is no text"
    match term.kind:
        case Kind.SUBJECT:
            return "the token belongs to somebody else"
        case Kind.CLIENT:
            return "the token was issued to another client"
    return "the token was issued in another tenant"


def _json_type(value: object) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
