"""One list of parameters for several methods that pass them on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["taking_arguments_of"]

P = ParamSpec("P")
R = TypeVar("R")


def taking_arguments_of(original: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Return a decorator that gives a method the parameters of another one: for type checkers, editors and `help`."""

    def give(method: Callable[..., R]) -> Callable[P, R]:
        described: Any = method
        parameters = list(inspect.signature(original).parameters.values())
        described.__signature__ = inspect.signature(method).replace(parameters=parameters)
        return method

    return give
