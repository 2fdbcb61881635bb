"""Condition and class names of SQLSTATEs, from PostgreSQL's errcodes.txt (src/backend/utils)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def conditions() -> dict[str, str]:
    """Condition names by SQLSTATE, as PL/pgSQL spells them: 57014 is query_canceled."""
    return {code: name for code, name, _ in _rows()}


@cache
def classes() -> dict[str, str]:
    """Names of the classes by the first two characters: 57 is Operator Intervention."""
    return {code[:2]: class_name for code, _, class_name in _rows()}


def _rows() -> list[tuple[str, str, str]]:
    lines = (files("pgtrace") / "sqlstates.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(code, name, class_name) for code, name, class_name in rows]
