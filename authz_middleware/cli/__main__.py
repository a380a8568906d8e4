"""`python -m authz_middleware.cli`, for where the script `authz` is not on the path."""

from __future__ import annotations

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
