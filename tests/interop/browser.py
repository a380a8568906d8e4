"""Debian's Chromium, driven by playwright-core through `browser.mjs`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .authorization_server import HERE

SCREENSHOTS = "AUTHZ_SCREENSHOTS"
"""The environment variable that names a folder to keep the pictures in."""
VISIT_SECONDS = 120


def missing_browser() -> str | None:
    """Say what this machine lacks to visit a page, or None."""
    if shutil.which("chromium") is None:
        return "chromium is not installed"
    if not all((HERE / "node_modules" / package).is_dir() for package in ("playwright-core", "swagger-ui-dist")):
        return "playwright-core and swagger-ui-dist are not installed; run npm install in tests/interop"
    return None


def visit_swagger_ui(url: str, *, login: str, allowed: str, refused: str, pictures: Path) -> dict[str, Any]:
    """Be a person at the Swagger UI of the API at `url`, and return what that person saw; see `browser.mjs`."""
    visit = {
        "docs": f"{url}/docs",
        "chromium": shutil.which("chromium"),
        "login": login,
        "allowed": allowed,
        "refused": refused,
        "screenshots": str(Path(os.environ.get(SCREENSHOTS, pictures)).resolve()),
    }
    done = subprocess.run(
        ["node", "browser.mjs", json.dumps(visit)],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=VISIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the browser failed: {done.stderr}")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
