"""Locks that a forked process finds free, and what they guard whole.

A fork copies one thread alone: a lock that another one held stays locked in the child for ever. So a fork waits until
none of these is held; none is held for long, and nobody who holds one takes another.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from weakref import WeakSet

__all__ = ["new_lock"]

_locks: WeakSet[threading.Lock] = WeakSet()
_forking = threading.Lock()
_held: list[threading.Lock] = []


def new_lock() -> threading.Lock:
    """Return a lock that is free after a fork."""
    lock = threading.Lock()
    with _forking:
        _locks.add(lock)
    return lock


def _hold_all() -> None:
    _forking.acquire()
    _held.extend(_locks)
    for lock in _held:
        lock.acquire()


def _release_all() -> None:
    for lock in _held:
        lock.release()
    _held.clear()
    _forking.release()


with suppress(AttributeError):  # there are no forks everywhere
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_release_all)
