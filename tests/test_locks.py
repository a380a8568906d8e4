"""Locks that a forked process finds free, whoever held them in its parent."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from authz_middleware import _locks
from authz_middleware._locks import new_lock
from authz_middleware.keys import RemoteJWKS
from authz_middleware.verified import VerifiedTokens

from .keys.helpers import World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


def exit_code_of_child(lock: threading.Lock) -> int:
    """Fork, and return 0 if the child finds the lock free."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock.acquire(blocking=False) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def held() -> Iterator[tuple[threading.Lock, threading.Event]]:
    """A lock that another thread holds until the event is set."""
    lock, is_held, release = new_lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    yield lock, release
    release.set()
    thread.join()


def test_a_fork_waits_until_a_lock_is_free(
    held: tuple[threading.Lock, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, release = held
    before: list[bool] = []

    class Forking:
        """Is taken first when a fork begins: the other thread may go on from then."""

        def acquire(self) -> None:
            before.append(lock.locked())
            release.set()

        def release(self) -> None:
            before.append(lock.locked())

    monkeypatch.setattr(_locks, "_forking", Forking())
    assert exit_code_of_child(lock) == 0
    assert before == [True, False]  # held when the fork began, free in the parent when it was over


def test_the_locks_of_this_package_are_such() -> None:
    cache, source = VerifiedTokens(), World().source
    assert isinstance(source, RemoteJWKS)
    for lock in (
        cache._lock,
        source._recording,
        source._flights._changing,
        source._bucket._changing,
        source._absent._changing,
    ):
        assert lock in _locks._locks


def test_a_lock_that_nobody_has_any_more_is_forgotten() -> None:
    gc.collect()
    before = len(_locks._locks)
    lock = new_lock()
    assert len(_locks._locks) == before + 1
    del lock
    gc.collect()
    assert len(_locks._locks) == before
