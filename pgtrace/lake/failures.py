"""What disk, SQLite, DuckDB and Polars raise, told as one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import polars as pl

from pgtrace.errors import LakeError

_FAILURES = (OSError, sqlite3.Error, duckdb.Error, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Raise what fails inside as LakeError, in one line that begins with ``what``."""
    try:
        yield
    except _FAILURES as error:
        raise LakeError(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """An error's first line; its name where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
