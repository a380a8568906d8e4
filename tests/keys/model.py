"""What DESIGN section 5 promises, as a model: the words of that table turned into a few dozen lines, and nothing else.

It knows no tasks and no await. A request arrives and is answered at once, or waits for the fetch under way; when that
lands, all who waited are answered in the order in which they came, or wait for one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Answer", "Document", "Failure", "Model", "Token", "Waiter"]

FRESH, SHORTEST, LONGEST = 600, 60, 3600
"""Seconds: where the response does not say; the bounds of what it may say."""
AHEAD = 0.8
TOLERANCE = 3600
"""Seconds after the last contact for which known keys work."""
BURST, INTERVAL = 2, 15
BACKOFF = [1, 2, 4, 8, 16, 30]
LONGEST_RETRY_AFTER = 300
FETCH_SECONDS = 5
STANDSTILL = 2

Answer = str
"""`ok`, or the code of a refusal."""
OK, UNKNOWN, UNAVAILABLE = "ok", "unknown_key", "keys_unavailable"


@dataclass(frozen=True)
class Document:
    """What the server publishes: for each key id which key, under which tag, and what it says about time."""

    keys: Mapping[str, int]
    etag: str | None = None
    max_age: int | None = None
    no_store: bool = False
    is_unchanged: bool = False
    """Whether it is only confirmed (304), because the tag that was sent fits."""


@dataclass(frozen=True)
class Failure:
    """An answer that is none."""

    retry_after: int | None = None


@dataclass(frozen=True)
class Token:
    """A token: its number, the key id it names, the key it was really signed with, and when it ends."""

    number: int
    kid: str
    key: int
    ends: float


@dataclass(eq=False)
class Waiter:
    """A request that waits. `is_early`: it came before the fetch began to ask, so the fetch answers it for good."""

    token: Token
    is_searching: bool
    is_early: bool
    answer: Answer | None = None


@dataclass(eq=False)
class Fetch:
    """The fetch under way. It has begun once it was given the server's answer, which it brings when it lands."""

    response: Document | Failure | None = None
    asked_at: float = 0.0
    waiters: list[Waiter] = field(default_factory=list)

    @property
    def searching(self) -> int:
        return sum(waiter.is_searching for waiter in self.waiters)


class Model:
    """One issuer's keys, and the answers to the tokens it signs."""

    def __init__(self, max_waiting: int) -> None:
        self.now = 0.0
        self.max_waiting = max_waiting
        self.document: Document | None = None
        self.lifetime = float(FRESH)
        self.contact = 0.0
        self.failures = 0
        self.retry_at = 0.0
        self.level = float(BURST)
        self.filled_at = 0.0
        self.absent: dict[str, float] = {}
        self.fetch: Fetch | None = None
        self.fetches = 0

    # --- the rows of the table ----------------------------------------------------------------------------------------

    @property
    def is_fresh(self) -> bool:
        return self.document is not None and self.now < self.contact + self.lifetime

    @property
    def is_usable(self) -> bool:
        """Known keys work until an hour after the last contact, and never less than they are fresh."""
        return self.document is not None and self.now < self.contact + max(self.lifetime, TOLERANCE)

    @property
    def is_due(self) -> bool:
        """While attempts fail, the next is due as soon as it may be made."""
        return self.failures > 0 or self.now >= self.contact + AHEAD * self.lifetime

    @property
    def is_failing(self) -> bool:
        """Whether attempts go on after one that failed: the latest is no longer ago than two can be apart."""
        return self.failures > 0 and self.now < self.retry_at + BACKOFF[-1] + FETCH_SECONDS

    @property
    def may_fetch(self) -> bool:
        return self.now >= self.retry_at

    def takes_token(self, kid: str) -> bool:
        """What was not found before leaves one."""
        self.level = min(BURST, self.level + (self.now - self.filled_at) / INTERVAL)
        self.filled_at = self.now
        has_one = self.level >= (2 if kid in self.absent else 1)
        self.level -= has_one
        return has_one

    def answer_of(self, token: Token) -> Answer | None:
        """Return the answer to a token of a key at hand; None: its key is unknown."""
        if self.document is None or token.kid not in self.document.keys:
            return None
        if self.document.keys[token.kid] != token.key:
            return "bad_signature"
        return OK if self.now < token.ends else "expired"

    def answer_of_unknown(self) -> Answer:
        return UNAVAILABLE if self.failures else UNKNOWN

    # --- requests -----------------------------------------------------------------------------------------------------

    def arrive(self, token: Token) -> Waiter:
        """Answer a request, or let it wait."""
        waiter = Waiter(token, is_searching=False, is_early=self.fetch is None or self.fetch.response is None)
        if not self.is_fresh and not (self.is_failing and self.is_usable):
            if self.may_fetch:
                self.wait(waiter)  # everybody waits, for any number of seconds the fetch takes
            else:
                waiter.answer = UNAVAILABLE
            return waiter
        if self.is_due and self.may_fetch:
            self.fetch = self.fetch or Fetch()  # nobody waits for it
        self.look(waiter)
        return waiter

    def look(self, waiter: Waiter) -> None:
        """Answer by the keys at hand, or search for one that is unknown."""
        waiter.answer = self.answer_of(waiter.token)
        if waiter.answer is None and self.now < self.absent.get(waiter.token.kid, 0):
            waiter.answer = self.answer_of_unknown()
        if waiter.answer is None:
            self.search(waiter)

    def search(self, waiter: Waiter) -> None:
        if self.fetch is None:
            if not self.may_fetch or not self.takes_token(waiter.token.kid):
                waiter.answer = self.answer_of_unknown()
                return
            self.fetch = Fetch()
        if self.fetch.searching >= self.max_waiting:
            waiter.answer = UNAVAILABLE
            return
        waiter.is_searching = True
        waiter.is_early = self.fetch.response is None
        self.wait(waiter)

    def wait(self, waiter: Waiter) -> None:
        self.fetch = self.fetch or Fetch()
        self.fetch.waiters.append(waiter)

    # --- the fetch ----------------------------------------------------------------------------------------------------

    def begin(self, response: Document | Failure) -> None:
        """The fetch under way asks the server, and this is what it will be told."""
        if self.fetch is None:
            raise LookupError("there is no fetch")
        self.fetch.response, self.fetch.asked_at = response, self.now
        self.fetches += 1

    def land(self) -> None:
        """The fetch under way ends. Those it does not answer for good wait for another one, which has not begun."""
        if self.fetch is None or self.fetch.response is None:
            raise LookupError("there is no fetch that has begun")
        longest = 2 * FETCH_SECONDS if isinstance(self.fetch.response, Document) else STANDSTILL
        if self.now - self.fetch.asked_at > longest:  # time passed and nobody noticed: the event loop stood still
            if isinstance(self.fetch.response, Document):
                self.learn(self.fetch)  # it is newer than what is at hand
            self.fetch.response = None
            return
        landed, self.fetch = self.fetch, None
        self.learn(landed)
        for waiter in landed.waiters:
            self.after(waiter)

    def learn(self, fetch: Fetch) -> None:
        response = fetch.response
        if not isinstance(response, Document):
            delay = BACKOFF[min(self.failures, len(BACKOFF) - 1)]
            retry_after = 0 if response is None else response.retry_after or 0
            self.retry_at = self.now + max(delay, min(LONGEST_RETRY_AFTER, retry_after))
            self.failures += 1
            return
        stated = SHORTEST if response.no_store else response.max_age
        if stated is not None:
            self.lifetime = min(LONGEST, max(SHORTEST, stated))
        elif not response.is_unchanged:
            self.lifetime = FRESH
        if self.document is None or response.keys != self.document.keys:
            self.absent.clear()  # they die with the next document
        self.document, self.contact, self.failures, self.retry_at = response, fetch.asked_at, 0, 0.0

    def after(self, waiter: Waiter) -> None:
        """Answer one who has waited, or let it search once more."""
        if not waiter.is_searching and not self.is_usable:
            waiter.answer = UNAVAILABLE
            return
        waiter.answer = self.answer_of(waiter.token)
        is_absent = self.now < self.absent.get(waiter.token.kid, 0)
        if waiter.answer is not None:
            return
        if not waiter.is_searching and is_absent:
            waiter.answer = self.answer_of_unknown()
        elif waiter.is_early:
            if not self.failures:
                self.absent[waiter.token.kid] = self.now + INTERVAL
            waiter.answer = self.answer_of_unknown()
        else:
            self.search(waiter)
