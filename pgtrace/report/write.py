"""A report: one file per named query and format, and a manifest, in a folder that appears whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pgtrace.api import LakeHandle
from pgtrace.errors import PgtraceError, UsageError
from pgtrace.lake.steps import reached
from pgtrace.query import Query, find, queries
from pgtrace.report import manifest
from pgtrace.report.csvfile import with_iso_times, write_csv
from pgtrace.report.files import whole_folder
from pgtrace.report.missing import Emptiness, Missing
from pgtrace.timespan import Window

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("csv", "parquet", "json")
PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report shall hold.

    ``queries`` are names, none for all. ``settings`` are parameters: ``top`` for every query that has it, or
    ``slow_queries.top`` for one. ``raw_cells`` leaves texts in the CSV as they are where a spreadsheet would run them.
    ``name`` tells reports of one folder apart.
    """

    window: Window
    queries: tuple[str, ...] = ()
    server: str | None = None
    formats: tuple[str, ...] = ("csv",)
    html: bool = False
    settings: Mapping[str, object] | None = None
    raw_cells: bool = False
    name: str | None = None

    def chosen(self) -> list[tuple[Query, dict[str, object]]]:
        """The queries and the parameters given to each. Raises UsageError for names that nothing has."""
        found = [find(name) for name in dict.fromkeys(self.queries)] if self.queries else list(queries().values())
        bounds = {"since": self.window.since, "until": self.window.until, "server": self.server}
        given: dict[str, dict[str, object]] = {
            query.name: {key: value for key, value in bounds.items() if key in query.parameters and value is not None}
            for query in found
        }
        for setting, value in (self.settings or {}).items():
            query_name, _, key = setting.rpartition(".")
            if query_name and query_name not in given:
                raise UsageError(f"set {setting}: the report has no query {find(query_name).name}")
            takers = [query for query in found if query_name in ("", query.name) and key in query.parameters]
            if not takers:
                whom = f"query {query_name}" if query_name else "query of the report"
                raise UsageError(f"set {setting}: no {whom} has a parameter '{key}'")
            for query in takers:
                given[query.name][key] = value
        return [(query, given[query.name]) for query in found]


@dataclass(frozen=True, slots=True)
class Written:
    """A file of a report; ``rows`` is None for the page."""

    path: Path
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """A report that is in its place: its folder, its files in the order of the manifest, and what is missing."""

    out: Path
    files: tuple[Written, ...]
    missing: tuple[Missing, ...]


def write_report(lake: LakeHandle, out: Path, wanted: Wanted, on_query: Callable[[str], None] | None = None) -> Report:
    """Make the report ``wanted`` of ``lake`` in the folder ``out``, in place of an older one.

    ``on_query`` is told each query before it is run. Raises UsageError for names and values that do not fit, before
    anything is written, and PgtraceError where a query fails or ``out`` holds anything else; an older report is then
    still there.
    """
    chosen = wanted.chosen()
    if not (wanted.formats or wanted.html):
        raise UsageError("a report needs a format: csv, parquet, json or html")
    window = wanted.window
    with whole_folder(out, manifest.check_own) as folder:
        empty = Emptiness(lake, window, wanted.server)
        entries: list[dict[str, Any]] = []
        files: list[dict[str, Any]] = []
        missing: list[Missing] = []
        for query, parameters in chosen:
            if on_query is not None:
                on_query(query.name)
            entry, own = _answer(lake, query, parameters, folder, wanted)
            entries.append(entry)
            files += own
            missing += empty.missing(query)
            reached("query written")
        if wanted.html:
            if on_query is not None:
                on_query(PAGE)
            files.append(_page(lake, folder, wanted))
        manifest.write(
            folder,
            {
                "pgtrace": version("pgtrace"),
                "name": wanted.name,
                "created_at": _iso(datetime.now(UTC)),
                "lake": str(lake.path),
                "window": _window(window),
                "server": wanted.server,
                "raw_cells": wanted.raw_cells,
                "data": _data(lake, window, wanted.server),
                "queries": entries,
                "missing": [asdict(item) for item in missing],
                "files": files,
            },
        )
    rows = {entry["name"]: entry["rows"] for entry in entries}
    written = [Written(out / item["name"], rows.get(item["query"]), item["bytes"]) for item in files]
    return Report(out, tuple(written), tuple(missing))


def _answer(
    lake: LakeHandle, query: Query, parameters: dict[str, object], folder: Path, wanted: Wanted
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a query and write its rows; what the manifest says of it and of its files."""
    began = time.monotonic()
    rows, types = _rows(lake, query.name, parameters)
    seconds = time.monotonic() - began
    files = []
    harmless = 0
    for file_format in wanted.formats:
        path = folder / f"{query.name}.{file_format}"
        if file_format == "csv":
            harmless = write_csv(rows, path, raw_cells=wanted.raw_cells)
        elif file_format == "parquet":
            rows.write_parquet(path)
        else:
            path.write_text(with_iso_times(rows).write_json() + "\n", encoding="utf-8")
        files.append(manifest.described(path, query=query.name, format=file_format))
    defaults = {key: None if item.default == "null" else item.default for key, item in query.parameters.items()}
    used = {**defaults, **parameters}
    entry = {
        "name": query.name,
        "question": query.question,
        "files": [file["name"] for file in files],
        "rows": rows.height,
        "columns": [
            {"name": name, "type": type_, "postgresql": manifest.postgresql_type(type_)}
            for name, type_ in types.items()
        ],
        "parameters": {key: _iso(value) if isinstance(value, datetime) else value for key, value in used.items()},
        "cells_made_harmless": harmless,
        "seconds": round(seconds, 3),
    }
    return entry, files


def _rows(lake: LakeHandle, name: str, parameters: dict[str, object]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The rows of a query, and its columns with DuckDB's types."""
    for is_last in (False, True):
        result = lake.query(name, **parameters)
        try:
            types = dict(zip(result.columns, map(str, result.types), strict=True))
            return result.pl(), types
        except duckdb.IOException as error:
            # files that were listed may have been merged or pruned since by another process: ask again, once
            if is_last:
                raise PgtraceError(f"query {name}: {error}") from None
        except duckdb.Error as error:
            raise PgtraceError(f"query {name}: {str(error).splitlines()[0]}") from None
    raise AssertionError  # the second turn returns or raises


def _page(lake: LakeHandle, folder: Path, wanted: Wanted) -> dict[str, Any]:
    from pgtrace.report.page import write_page

    path = folder / PAGE
    window = wanted.window
    write_page(lake, path, since=window.since, until=window.until, server=wanted.server, timezone=window.timezone)
    reached("page written")
    return manifest.described(path, query=None, format="html")


def _window(window: Window) -> dict[str, Any]:
    return {
        "asked_since": window.asked_since,
        "asked_until": window.asked_until,
        "timezone": window.timezone,
        "since": _iso(window.since),
        "until": _iso(window.until),
        "as_of": _iso(window.now),
    }


def _data(lake: LakeHandle, window: Window, server: str | None) -> dict[str, Any]:
    """What there was to ask: sources and lines of the lake, and the records of the window."""
    bound = {"since": window.since, "until": window.until, "server": server}
    [sources] = lake.connection.execute(
        "select count(*), cast(coalesce(sum(lines), 0) as bigint), cast(coalesce(sum(unparsed), 0) as bigint), "
        "coalesce(list(distinct server order by server), []) from source where $server is null or server = $server",
        {"server": server},
    ).fetchall()
    [times] = lake.connection.execute(
        "select count(*) as records, epoch_us(min(logged_at)) as first_us, epoch_us(max(logged_at)) as last_us "
        "from record where ($server is null or server = $server) "
        "and ($since is null or logged_at >= $since) and ($until is null or logged_at < $until)",
        bound,
    ).fetchall()
    first, last = (None if us is None else datetime.fromtimestamp(us / 1e6, UTC) for us in times[1:])
    keys = ("sources", "lines", "unparsed", "servers")
    return {
        **dict(zip(keys, sources, strict=True)),
        "records_in_window": times[0],
        "first_record_at": _iso(first),
        "last_record_at": _iso(last),
    }


def _iso(moment: datetime | None) -> str | None:
    """As the CSV files have it."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def settings_of(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """``KEY=VALUE`` or ``QUERY.KEY=VALUE`` as key and value. Raises UsageError."""
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"--set {text}: write it as KEY=VALUE, or QUERY.KEY=VALUE for one query")
        yield key.strip(), value
