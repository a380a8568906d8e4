"""A module as people write it: its annotations are postponed, and some of them are for type checkers only."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Annotated, Any, Optional, Union

from fastapi import APIRouter, Depends, Security
from typing_extensions import TypeAliasType

from authz_middleware import AccessToken, access_token, public, requires

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authz_middleware import AccessToken as Token

Caller = Annotated[AccessToken, Security(requires("x"))]
MaybeCaller = Annotated[AccessToken | None, Depends(access_token)]
MaybeToken = TypeAliasType("MaybeToken", AccessToken | None)
AnyCaller = TypeAliasType("AnyCaller", Annotated[MaybeToken, Depends(access_token)])

router = APIRouter()
optional, required = APIRouter(prefix="/optional"), APIRouter(prefix="/required")


def subject(token: Token | None) -> str | None:
    return None if token is None else token.subject


@router.get("/orders", response_model=None)
async def orders(caller: Caller, limit: int = 1) -> Mapping[str, object]:
    return {"caller": caller.subject, "limit": limit}


# --- the token may be missing -----------------------------------------------------------------------------------------


@optional.get("/alias", response_model=None)
@public
async def alias(token: MaybeCaller) -> Mapping[str, Any]:  # the answer's annotation cannot be evaluated
    return {"subject": subject(token)}


@optional.get("/named-alias")
@public
async def named_alias(token: AnyCaller) -> Any:
    return {"subject": subject(token)}


@optional.get("/union")
@public
async def union(token: Annotated[Union[AccessToken, None], Depends(access_token)]) -> Any:  # noqa: UP007
    return {"subject": subject(token)}


@optional.get("/optional")
@public
async def optional_token(token: Annotated[Optional[AccessToken], Depends(access_token)]) -> Any:  # noqa: UP045
    return {"subject": subject(token)}


@optional.get("/quoted")
@public
async def quoted(token: Annotated["None | AccessToken", Depends(access_token)]) -> Any:  # noqa: RUF036, UP037
    return {"subject": subject(token)}


@optional.get("/default")
@public
async def default(token: AccessToken | None = Depends(access_token)) -> Any:  # noqa: B008
    return {"subject": subject(token)}


@optional.get("/requirement")
async def requirement(token: Annotated[AccessToken | None, Security(public)]) -> Any:
    return {"subject": subject(token)}


@optional.get("/unevaluated")
@public
async def unevaluated(token: Token | None = Depends(access_token)) -> Any:  # noqa: B008
    return {"subject": subject(token)}


@optional.get("/unevaluated-first")
@public
async def unevaluated_first(token: None | Token = Depends(access_token)) -> Any:  # noqa: B008, RUF036
    return {"subject": subject(token)}


@optional.get("/unevaluated-optional")
@public
async def unevaluated_optional(token: Optional[Token] = Depends(access_token)) -> Any:  # noqa: B008, UP045
    return {"subject": subject(token)}


@optional.get("/unevaluated-typing-union")
@public
async def unevaluated_union(token: typing.Union[Token, None] = Depends(access_token)) -> Any:  # noqa: B008, UP007
    return {"subject": subject(token)}


# --- the token must be there ------------------------------------------------------------------------------------------


@required.get("/plain")
@public
async def plain(token: Annotated[AccessToken, Depends(access_token)]) -> Any:
    return {"subject": subject(token)}


@required.get("/unsaid")
@public
async def unsaid(token=Depends(access_token)) -> Any:  # type: ignore[no-untyped-def] # noqa: B008
    return {"subject": subject(token)}


@required.get("/any")
@public
async def anything(token: Annotated[Any, Depends(access_token)]) -> Any:
    return {"subject": subject(token)}


@required.get("/other-union")
@public
async def other_union(token: Annotated[AccessToken | dict[str, None], Security(public)]) -> Any:
    return {"subject": subject(token)}  # type: ignore[arg-type]


@required.get("/unevaluated")
@public
async def unevaluated_plain(token: Token = Depends(access_token)) -> Any:  # noqa: B008
    return {"subject": subject(token)}


@required.get("/unevaluated-union")
@public
async def unevaluated_other_union(token: Union[Token, str] = Depends(access_token)) -> Any:  # noqa: B008, UP007
    return {"subject": subject(token)}  # type: ignore[arg-type]


@required.get("/both")
@public
async def both(maybe: MaybeCaller, token: Annotated[AccessToken, Depends(access_token)]) -> Any:
    return {"subject": subject(maybe and token)}


@required.get("/whole-route", dependencies=[Depends(access_token)])
@public
async def whole_route(token: MaybeCaller) -> Any:
    return {"subject": subject(token)}
