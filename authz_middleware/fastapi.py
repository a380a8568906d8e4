"""For FastAPI applications. Source: FastAPI's defaults for its documentation pages."""

from __future__ import annotations

__all__ = ["FASTAPI_DOCS"]

FASTAPI_DOCS = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
"""FastAPI's own pages: `public_paths=FASTAPI_DOCS` opens them to anybody."""
