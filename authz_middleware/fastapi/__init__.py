"""For FastAPI applications: their documentation pages, and an OpenAPI document that says who may call what.

Sources: FastAPI's defaults for its pages, OpenAPI 3.1, Swagger UI's OAuth 2.0 configuration.
"""

from __future__ import annotations

from ..routes import FASTAPI_DOCS

try:
    from .document import document
    from .swagger import swagger_ui
except ImportError as error:
    raise ImportError(
        'authz_middleware.fastapi needs FastAPI, version 0.165 or later; write pip install "authz_middleware[fastapi]"'
    ) from error

__all__ = ["FASTAPI_DOCS", "document", "swagger_ui"]
