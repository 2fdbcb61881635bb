"""PostgreSQL's programs, for the benchmarks that start a server of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

#: who owns the server where a benchmark runs as root
OWNER = "postgres"


def program(name: str) -> str:
    """A program of PostgreSQL. Raises SystemExit where there is none."""
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(packaged[0]) if packaged else None)
    if found is None:
        sys.exit(f"{name} is not on the PATH: install PostgreSQL")
    return found
