"""For FastAPI applications. Source: FastAPI's defaults for its documentation pages."""

from __future__ import annotations

from .routes import FASTAPI_DOCS

__all__ = ["FASTAPI_DOCS"]
