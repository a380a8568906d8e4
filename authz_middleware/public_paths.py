"""Paths that need no token, as the application lists them."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import ConfigurationError

__all__ = ["PublicPaths"]


class PublicPaths:
    """Paths that need no token: exact ones, and trees written `/static/*`. Case-sensitive, by whole segments."""

    def __init__(self, paths: object = ()) -> None:
        if isinstance(paths, str) or not isinstance(paths, list | tuple | set | frozenset):
            raise ConfigurationError('public_paths is a collection; write public_paths=["/docs"], with brackets')
        self._exact = frozenset(path for path in paths if isinstance(path, str) and not path.endswith("/*"))
        self._trees = tuple(path[:-1] for path in paths if isinstance(path, str) and path.endswith("/*"))
        for path in paths:
            if (
                not isinstance(path, str)
                or not path.startswith("/")
                or "*" in path.removesuffix("/*")
                or _has_dots(path)
            ):
                raise ConfigurationError(
                    f'public_paths: {path!r} is no path; write "/docs" or, for a tree, "/static/*"'
                )
        if "/" in self._trees:
            raise ConfigurationError(
                'public_paths: "/*" would open everything; name the paths, or decorate with @public'
            )

    def __iter__(self) -> Iterator[str]:
        """Yield the paths as they were written, in order of the alphabet."""
        return iter(sorted({*self._exact, *(f"{tree}*" for tree in self._trees)}))

    def __contains__(self, path: str) -> bool:
        # A dot segment may lead out of the tree in whatever serves it.
        return path in self._exact or (path.startswith(self._trees) and not _has_dots(path))


def _has_dots(path: str) -> bool:
    return any(segment in {".", ".."} for segment in path.replace("\\", "/").split("/"))
