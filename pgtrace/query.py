"""The named queries: found in ``queries/*.sql``, described by their headers, bound and run.

A header is the comment that a file begins with:

    -- The question that the query answers?
    --
    -- Reads:
    --   statement, query
    -- Columns:
    --   calls  BIGINT  executions
    -- Parameters:
    --   $top  BIGINT  50  rows to show
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import duckdb

from pgtrace.errors import PgtraceError, UsageError
from pgtrace.timespan import parse_time

_SECTIONS = ("Reads", "Columns", "Parameters")
_GAP = re.compile(r"\s{2,}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: ``type`` is DuckDB's, ``default`` as SQL text (``null``, a number, a word)."""

    type: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of the result."""

    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Query:
    """A named query and what its header says of it."""

    name: str
    question: str
    note: str
    reads: tuple[str, ...]
    columns: Mapping[str, ResultColumn]
    parameters: Mapping[str, Parameter]
    sql: str


@cache
def queries() -> dict[str, Query]:
    """All named queries, by name. Raises PgtraceError, naming file and line, where a header cannot be read."""
    found = sorted(
        (item for item in files("pgtrace.queries").iterdir() if item.name.endswith(".sql")), key=lambda item: item.name
    )
    return {item.name[:-4]: read_query(item.name, item.read_text(encoding="utf-8")) for item in found}


def find(name: str) -> Query:
    """The query of that name. Raises UsageError naming the nearest ones."""
    found = queries()
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "pgtrace query lists them"
        raise UsageError(f"no query '{name}': {hint}")
    return found[name]


def run(connection: duckdb.DuckDBPyConnection, name: str, parameters: Mapping[str, object]) -> duckdb.DuckDBPyRelation:
    """Run a query; values given as text are read as the parameter's type. Raises UsageError for what does not fit."""
    query = find(name)
    unknown = [key for key in parameters if key not in query.parameters]
    if unknown:
        known = ", ".join(query.parameters) or "none"
        near = difflib.get_close_matches(unknown[0], query.parameters, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {known}"
        raise UsageError(f"query {name} has no parameter '{unknown[0]}': {hint}")
    defaults = {key: None if item.default == "null" else item.default for key, item in query.parameters.items()}
    values = {key: _value(query, key, value) for key, value in {**defaults, **parameters}.items()}
    try:
        return connection.sql(query.sql, params=values)
    except duckdb.Error as error:
        raise PgtraceError(f"query {name}: {error}") from None


def _value(query: Query, key: str, value: object) -> object:
    """A parameter's value as DuckDB takes it; text is read as the declared type."""
    if not isinstance(value, str):
        return value
    declared = query.parameters[key].type
    try:
        return _READERS[declared](value)
    except UsageError as error:
        raise UsageError(f"query {query.name}: {key}: {error}") from None
    except (ValueError, KeyError):
        raise UsageError(f"query {query.name}: {key} = '{value}' is not a {declared}") from None


def _bigint(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
#: how text becomes a value of a parameter, by the type that the header declares
_READERS: dict[str, Callable[[str], object]] = {
    "TIMESTAMP WITH TIME ZONE": parse_time,
    "BIGINT": _bigint,
    "DOUBLE": float,
    "BOOLEAN": lambda text: _TRUTH[text.lower()],
    "VARCHAR": str,
}


def read_query(file_name: str, text: str) -> Query:
    """Read a file's header. Raises PgtraceError, naming file and line, where it is not as it should be."""
    sections: dict[str, list[tuple[int, str]]] = {section: [] for section in _SECTIONS}
    intro: list[str] = []
    section = None
    for number, line in _header(text):
        if line.rstrip(":") in _SECTIONS and line.endswith(":"):
            section = line[:-1]
        elif section is None:
            intro.append(line)
        elif line:
            sections[section].append((number, line))
    if not intro or not intro[0].endswith("?"):
        raise PgtraceError(f"{file_name}, line 1: the header begins with a question, as in -- Which queries are slow?")
    columns = [_fields(file_name, number, line, 3) for number, line in sections["Columns"]]
    parameters = [_fields(file_name, number, line, 4) for number, line in sections["Parameters"]]
    for (number, _), (name, type_, _, _) in zip(sections["Parameters"], parameters, strict=True):
        if not name.startswith("$") or type_ not in _READERS:
            wanted = f"$name and one of {', '.join(_READERS)}"
            raise PgtraceError(f"{file_name}, line {number}: a parameter is {wanted}, not {name} {type_}")
    reads = [word for _, line in sections["Reads"] for word in line.replace(",", " ").split()]
    return Query(
        name=file_name.removesuffix(".sql"),
        question=intro[0],
        note=" ".join(line for line in intro[1:] if line),
        reads=tuple(reads),
        columns={name: ResultColumn(type_, meaning) for name, type_, meaning in columns},
        parameters={
            name.lstrip("$"): Parameter(type_, default, meaning) for name, type_, default, meaning in parameters
        },
        sql=text,
    )


def _header(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("--"):
            return
        yield number, line[2:].strip()


def _fields(file_name: str, number: int, line: str, count: int) -> list[str]:
    parts = _GAP.split(line, maxsplit=count - 1)
    if len(parts) != count:
        raise PgtraceError(f"{file_name}, line {number}: '{line}' should have {count} fields, two blanks apart")
    return parts
