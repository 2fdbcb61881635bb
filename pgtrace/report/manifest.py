"""``manifest.json``: what a report holds, of which window and data, and what it could not answer.

``schema`` counts up when a key goes or changes its meaning; new keys may come at any time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pgtrace.errors import PgtraceError

NAME = "manifest.json"
_KIND = "pgtrace report"
_SCHEMA = 1
#: PostgreSQL's type for a column of DuckDB's
_POSTGRESQL = {
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "DOUBLE": "double precision",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "UBIGINT": "numeric",
    "HUGEINT": "numeric",
}


def postgresql_type(duckdb_type: str) -> str:
    """The type of a PostgreSQL column that takes these values from the CSV; ``text`` takes any."""
    base = duckdb_type.removesuffix("[]")
    return _POSTGRESQL.get(base, "text") + ("[]" if base != duckdb_type else "")


def described(path: Path, **more: object) -> dict[str, Any]:
    """A file of the report, with its size and its sha256."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return {"name": path.name, **more, "bytes": path.stat().st_size, "sha256": content.hexdigest()}


def write(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest of the report in ``folder``."""
    whole = {"kind": _KIND, "schema": _SCHEMA, **content}
    (folder / NAME).write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of the report in ``folder``; None where there is none, or it is not of a pgtrace report."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("kind") == _KIND else None


def check_own(folder: Path) -> None:
    """Raises PgtraceError where the folder holds anything but a report, which must not be replaced or removed."""
    there = {path.name for path in folder.iterdir()}
    content = read(folder)
    if content is None:
        if there:
            raise PgtraceError(
                f"{folder}: holds files and no report of pgtrace, and is not replaced; give --out a folder of its own"
            )
        return
    foreign = sorted(there - {NAME} - {file["name"] for file in content["files"]})
    if foreign:
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise PgtraceError(
            f"{folder}: holds {foreign[0]}{more}, which is not of the report there, and is not replaced; "
            "move it elsewhere"
        )
