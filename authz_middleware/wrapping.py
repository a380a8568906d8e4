"""Functions that decide before they run: what makes a decorator's word certain, however its function is reached."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import Scope

from .binding import context_for_call, current_context
from .context import RequestContext
from .policy import Access

__all__ = ["wrap"]


def wrap(function: Callable[..., Any], access: Access) -> Callable[..., Any]:
    """Return a function of the same kind and signature that decides first, unless that was done for this request."""
    if inspect.isasyncgenfunction(function):
        return _wrap_async_generator(function, access)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def guarded_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            context, scope = _request_of(args, kwargs)
            context.enforce(access, scope)
            return (yield from function(*args, **kwargs))

        return guarded_generator

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
            context, scope = _request_of(args, kwargs)
            await context.enforce_checked(access, scope)
            return await function(*args, **kwargs)

        return guarded_coroutine

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        context, scope = _request_of(args, kwargs)
        context.enforce(access, scope)  # where nothing has decided before, an async check cannot be waited for
        return function(*args, **kwargs)

    return guarded


def _wrap_async_generator(function: Callable[..., Any], access: Access) -> Callable[..., Any]:
    """Wrap an async generator, passing on what is sent and thrown into it, as `yield from` does for the other kind."""

    @functools.wraps(function)
    async def guarded_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        context, scope = _request_of(args, kwargs)
        await context.enforce_checked(access, scope)
        async with aclosing(function(*args, **kwargs)) as items:
            try:
                item = await anext(items)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - as `yield from` does: the generator's own affair
                        item = await items.athrow(error)
                    else:
                        item = await items.asend(sent)
            except StopAsyncIteration:
                return

    return guarded_async_generator


def _request_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[RequestContext, Scope]:
    """Return context and scope of the request a function was handed, or of the one being served.

    Raises:
        ConfigurationError: there is none, or there are two.
    """
    for value in (*args, *kwargs.values()):
        if isinstance(value, HTTPConnection):
            return context_for_call(value), value.scope
    context = current_context()
    return context, context.scope
