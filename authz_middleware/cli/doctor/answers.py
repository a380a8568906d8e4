"""What an authorization server answers: each URL is asked once, by the rules and limits of `keys`, and remembered."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..._jose import JSONFault, parse_json
from ...keys import Fetch, Fetched, FetchFailed, KeySettings
from ...keys.fetch import fetch_document

__all__ = ["Answers", "Look"]

MAX_REQUESTS = 5
REDIRECTS = range(300, 400)
FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "timeout": "it does not answer in time",
        "too_large": "its answer is larger than any such document",
        "compressed": "its answer is compressed in a way that cannot be read safely",
        "forbidden_address": "its name leads to a link-local or cloud metadata address",
        "too_many_requests": "it was not asked: there have been requests enough",
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
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
        self._kept: dict[tuple[str, str | None], Answer] = {}

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Fetched:
        """Return the response, from the server or from memory.

        Raises:
            FetchFailed: there were requests enough.
            Exception: whatever the fetch raised.
        """
        key = (url, headers.get("If-None-Match"))
        if key not in self._kept:
            self._kept[key] = await self._ask(url, headers)
        answer = self._kept[key]
        if answer.response is None:
            raise answer.error or FetchFailed("timeout")
        return answer.response

    async def look(self, url: str, *, etag: str | None = None) -> Look:
        """Return what became of a URL; with `etag`, of asking whether it is still the same."""
        condition = {} if etag is None else {"If-None-Match": etag}
        failure = None
        try:
            await fetch_document(
                self, url, condition, seconds=self._settings.fetch_seconds, max_bytes=self._settings.max_bytes
            )
        except FetchFailed as failed:
            failure = failed
        return Look(url, self._kept.get((url, etag), Answer(self._clock())), failure)

    async def _ask(self, url: str, headers: Mapping[str, str]) -> Answer:
        if len(self.asked) >= MAX_REQUESTS:
            return Answer(self._clock(), error=FetchFailed("too_many_requests"))
        self.asked.append(url)
        try:
            response = await self._fetch(url, headers)
        except asyncio.CancelledError:  # it took too long: not to be asked again
            self._kept[url, headers.get("If-None-Match")] = Answer(self._clock(), error=FetchFailed("timeout"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what became of it
            return Answer(self._clock(), error=error)
        return Answer(self._clock(), response)


@dataclass(frozen=True, slots=True)
class Look:
    """What became of one URL."""

    url: str
    answer: Answer
    failure: FetchFailed | None

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers; none without one."""
        return {} if self.answer.response is None else self.answer.response.headers

    @property
    def status(self) -> int | None:
        """The response's status."""
        return None if self.answer.response is None else self.answer.response.status

    @property
    def document(self) -> Mapping[str, object] | None:
        """The JSON object of a good response."""
        if self.failure is not None or self.answer.response is None:
            return None
        try:
            document = parse_json(self.answer.response.body)
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
        return FAILURES.get(self.failure.kind) or _cause(self.answer.error)


def _cause(error: BaseException | None) -> str:
    chain = list(_chain(error))
    if any(isinstance(one, ssl.SSLError) for one in chain):
        return "its TLS certificate is not accepted by this machine"
    if any(isinstance(one, socket.gaierror) for one in chain):
        return "this machine does not know its host"
    return "it cannot be reached from this machine"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
