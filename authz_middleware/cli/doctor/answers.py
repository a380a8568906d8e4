"""What an authorization server answers: each URL is asked once, by the rules and limits of `keys`, and remembered."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from ..._json import JSONFault, parse_json
from ...keys import Fetch, Fetched, FetchFailed, KeySettings
from ...keys.fetch import fetch_document
from ..failures import FAILURES

__all__ = ["Answers", "Look"]

MAX_REQUESTS = 5
NOT_MODIFIED = 304
REDIRECTS = range(300, 400)
CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "SSLError": "its TLS certificate is not accepted by this machine",
        "gaierror": "this machine does not know its host",
        "ProtocolError": "its answer is no HTTP",
        "OSError": FAILURES["transport"],
        "TransportError": FAILURES["transport"],
    }
)
"""What an error comes from, by a name among those of its classes: those of HTTP clients are not imported here."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response, or the error in its place, and when it came in epoch seconds."""

    at: float
    response: Fetched | None = None
    error: Exception | None = None


class Answers:
    """A `Fetch` that remembers. `asked` lists the URLs, in order.

    Args:
        fetch: how documents are fetched. clock: epoch seconds. settings: the limits.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float], settings: KeySettings) -> None:
        self.asked: list[str] = []
        self._fetch = fetch
        self._clock = clock
        self._settings = settings
        self._kept: dict[tuple[str, str | None], Reply] = {}

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response, from the server or from memory.

        Raises:
            FetchFailed: there were requests enough.
            Exception: whatever the fetch raised.
        """
        key = (url, headers.get("If-None-Match"))
        if key not in self._kept:
            self._kept[key] = await self._ask(url, headers)
        reply = self._kept[key]
        if reply.error is not None:
            raise reply.error
        return cast("Fetched", reply.response)  # whatever came: a response that is none makes for a failed fetch

    async def look(self, url: str, *, etag: str | None = None) -> Look:
        """Return what became of a URL; with `etag`, of asking whether it is still the same."""
        condition = {} if etag is None else {"If-None-Match": etag}
        try:
            response = await fetch_document(
                self, url, condition, seconds=self._settings.fetch_seconds, max_bytes=self._settings.max_bytes
            )
        except FetchFailed as failed:
            failure: FetchFailed | None = failed
        else:
            is_unasked = etag is None and response.status == NOT_MODIFIED
            failure = FetchFailed("not_modified_unasked") if is_unasked else None
        return Look(url, self._kept.get((url, etag), Reply(self._clock())), failure)

    async def _ask(self, url: str, headers: Mapping[str, str]) -> Reply:
        if len(self.asked) >= MAX_REQUESTS:
            return Reply(self._clock(), error=FetchFailed("too_many_requests"))
        self.asked.append(url)
        try:
            awaited: object = self._fetch(url, headers)
            if not inspect.isawaitable(awaited):
                return Reply(self._clock(), error=FetchFailed("not_async"))
            response: Fetched = await awaited
        except asyncio.CancelledError:  # it took too long: not to be asked again
            self._kept[url, headers.get("If-None-Match")] = Reply(self._clock(), error=FetchFailed("timeout"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what became of it
            return Reply(self._clock(), error=error)
        return Reply(self._clock(), response)


@dataclass(frozen=True, slots=True)
class Look:
    """What became of one URL."""

    url: str
    reply: Reply
    failure: FetchFailed | None

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers; none without one."""
        return {} if self.reply.response is None else self.reply.response.headers

    @property
    def status(self) -> int | None:
        """The response's status."""
        return None if self.reply.response is None else self.reply.response.status

    @property
    def document(self) -> Mapping[str, object] | None:
        """The JSON object of a good response."""
        if self.failure is not None or self.reply.response is None:
            return None
        try:
            document = parse_json(self.reply.response.body)
        except JSONFault:
            return None
        return document if isinstance(document, dict) else None

    @property
    def fault(self) -> str:
        """Why there is no document, in words."""
        if self.failure is None:
            return "its answer is no JSON object"
        if self.status is not None and self.failure.kind == "status":
            hint = ", a redirect, and those are not followed" if self.status in REDIRECTS else ""
            return f"it answers {self.status}{hint}"
        return _cause(self.reply.error) if self.failure.kind == "transport" else FAILURES[self.failure.kind]


def _cause(error: BaseException | None) -> str:
    if error is None:
        return "it was asked in vain: fetch= returns no Fetched"
    names = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    causes = (words for name, words in CAUSES.items() if name in names)
    return next(causes, f"it was asked in vain: fetch= raised {type(error).__name__}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
