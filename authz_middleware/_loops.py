"""Whether an event loop of asyncio runs where a function was called."""

from __future__ import annotations

import asyncio

__all__ = ["is_loop_running"]


def is_loop_running() -> bool:
    """Tell whether this was called on an event loop, in a task or in a callback of it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
