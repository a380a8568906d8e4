"""What a policy is mistaken for: each slip is an error that says what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..errors import ConfigurationError

__all__ = ["PlainValue"]


class PlainValue:
    """A value that is no condition, no decorator, no dependency and no part of a request."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(
            f"{self!r}: `and`, `or` and `not` do not compose policies; write & or |. As a dependency, write "
            f"Security(requires({self!r}))"
        )

    if not TYPE_CHECKING:  # pragma: no branch - for them a policy is not callable, which the messages say, too

        def __call__(self, *_: object, **__: object) -> NoReturn:
            """Refuse to decorate anything: a policy is a value."""
            raise ConfigurationError(f"{self!r} is a policy, no decorator; write @requires({self!r})")

        @property
        def __signature__(self) -> NoReturn:
            """Refuse to be a dependency by itself."""
            raise ConfigurationError(f"{self!r} is a policy, no dependency; write Security(requires({self!r}))")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> NoReturn:
        """Refuse to be read from a request, which `Depends(requires)`, without its call, asks FastAPI for."""
        raise ConfigurationError(
            'a policy is no part of a request; write Security(requires("read:orders")), with the grants in the call'
        )
