"""The Python interface: ``lake = pgtrace.open("lake")``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pgtrace import registry
from pgtrace.errors import PgtraceError, UsageError
from pgtrace.lake import Lake
from pgtrace.schema import Table
from pgtrace.views import VIEWS

if TYPE_CHECKING:
    import polars as pl

    from pgtrace.analysis import Causes
    from pgtrace.analysis.episode import Episode
    from pgtrace.analysis.onestatement import OneStatement
    from pgtrace.ingest import SourceResult
    from pgtrace.ingest.reporter import Reporter


def described_tables() -> dict[str, Table]:
    """Every table and view of a lake, by name."""
    from pgtrace.lake import SOURCE
    from pgtrace.views import VIEW_TABLES

    return {**registry.tables(), SOURCE.name: SOURCE, **VIEW_TABLES}


def table_named(name: str) -> Table:
    """The table of that name. Raises UsageError naming the nearest ones."""
    tables = described_tables()
    if name not in tables:
        near = difflib.get_close_matches(name, tables, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(tables)}"
        raise UsageError(f"no table '{name}': {hint}")
    return tables[name]


class LakeHandle:
    """A lake: put logs in, ask in SQL. Use it from one thread."""

    def __init__(self, path: str | Path):
        self._lake = Lake(Path(path), registry.tables(), VIEWS)
        self._connection: duckdb.DuckDBPyConnection | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self._lake.path

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection (in memory) in which every table of the lake is a view."""
        if self._connection is None:
            self._connection = self._lake.connect()
        return self._connection

    def ingest(
        self,
        paths: Sequence[str | Path] | str | Path,
        *,
        server: str = "default",
        log_format: str = "auto",
        prefix: str | None = None,
        timezone: str | None = None,
        redact: bool = False,
        pg_waldump: Sequence[str | Path] | str | Path = (),
        jobs: int | None = None,
        dask: str | None = None,
        executor: Executor | None = None,
        reporter: Reporter | None = None,
    ) -> list[SourceResult]:
        """Read what is new in ``paths`` (files, folders, globs, archives, ``-``) into the lake; one result per source.

        Passwords and the like are masked always; ``redact`` also leaves out constants, parameter values and rows.
        ``pg_waldump`` names programs, or folders of them, that read WAL segments, before those found here.
        ``executor`` runs the reading of chunks: any ``concurrent.futures.Executor``; default: ``jobs`` threads. Raises
        UsageError for wrong arguments; a source that cannot be read is a result with status ``failed``.
        """
        from pgtrace.ingest import ingest

        chosen = [paths] if isinstance(paths, str | Path) else paths
        programs = [pg_waldump] if isinstance(pg_waldump, str | Path) else pg_waldump
        return ingest(
            self._lake,
            [str(path) for path in chosen],
            server=server,
            log_format=log_format,
            prefix=prefix,
            timezone=timezone,
            redact=redact,
            pg_waldump=[str(path) for path in programs],
            jobs=jobs,
            dask=dask,
            executor=executor,
            reporter=reporter,
        )

    def sql(self, text: str) -> duckdb.DuckDBPyRelation:
        """Run SQL; ``.pl()``, ``.df()`` and ``.arrow()`` give the rows. Raises PgtraceError."""
        try:
            relation = self.connection.sql(text)
        except duckdb.Error as error:
            raise PgtraceError(f"SQL: {error}") from None
        if relation is None:  # a statement without rows, such as SET
            return self.connection.sql("select 'done' as result")
        return relation

    def query(self, name: str, **parameters: object) -> duckdb.DuckDBPyRelation:
        """Run a named query with its parameters. Raises UsageError for unknown names and unreadable values."""
        from pgtrace.query import run

        return run(self.connection, name, parameters)

    def why(
        self,
        *,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        server: str | None = None,
        fingerprint: str | None = None,
        on_step: Callable[[str], None] | None = None,
    ) -> Causes:
        """Which background events go together with slow executions that started in a span; see docs/analysis.md.

        ``fingerprint`` keeps what is about one query. Raises UsageError for a time that cannot be read.
        """
        from pgtrace.analysis import find_causes

        return find_causes(
            self.connection,
            since=_time(since),
            until=_time(until),
            server=server,
            fingerprint=fingerprint,
            on_step=on_step,
        )

    def why_at(
        self, time: str | datetime, *, server: str | None = None, on_step: Callable[[str], None] | None = None
    ) -> Episode | None:
        """The slow episode at a time, or the nearest within 15 minutes: what was different, and what explains it.

        None where there is none. Episodes are those of the named query ``episodes`` over the hour before and after.
        Raises UsageError for a time that cannot be read.
        """
        from pgtrace.analysis import episode

        moment = _time(time)
        assert moment is not None
        tell = on_step or (lambda _: None)
        tell("looking for slow episodes")
        bounds = {"since": moment - episode.SEARCHED, "until": moment + episode.SEARCHED, "server": server}
        found = self.query("episodes", **bounds).pl()
        facts, distance = episode.nearest(found, moment)
        if facts is None or distance > episode.NEAREST:
            return None
        causes = self.why(server=facts["server"], on_step=tell)
        return episode.describe(self.connection, facts, found, causes.rows, tell)

    def why_statement(
        self, which: str, *, server: str | None = None, on_step: Callable[[str], None] | None = None
    ) -> OneStatement:
        """One execution: how slow for its query, what it overlapped, whom it waited for, its files, errors and plan.

        ``which`` is FILE:LINE or SOURCE_ID:LINE (as in the query ``slow_statements``), PID@TIME, or SESSION_ID/LINE
        (%c and %l of log_line_prefix). Raises UsageError where there is no such execution, or more than one.
        """
        from pgtrace.analysis.findstatement import find_statement
        from pgtrace.analysis.onestatement import describe_statement

        row = find_statement(self.connection, which, server, _time)
        return describe_statement(self.connection, row, self.why(server=row["server"], on_step=on_step).rows)

    def audit(self) -> tuple[pl.DataFrame, list[str]]:
        """One row per source with its sums, and what is wrong with the parts: empty where all is well."""
        return self._lake.audit()

    def compact(self) -> tuple[int, int]:
        """Merge small parts of a day; returns how many went and how many they became."""
        return self._lake.compact()

    def prune(self, before: str | date) -> int:
        """Remove the days before ``before``; returns the number of parts removed."""
        if isinstance(before, str):
            from pgtrace.timespan import parse_time

            before = parse_time(before, datetime.now(UTC)).date()
        return self._lake.prune(before)

    def refresh_catalog(self) -> Path:
        """Write ``pgtrace.duckdb``, the catalog for other DuckDB clients, where it is missing or out of date."""
        self._lake.refresh_catalog()
        return self._lake.catalog_path


def _time(time: str | datetime | None) -> datetime | None:
    from pgtrace.timespan import parse_time

    return parse_time(time) if isinstance(time, str) else time


def open_lake(path: str | Path = "lake") -> LakeHandle:
    """Open the lake at ``path``; it is made where there is none."""
    return LakeHandle(path)
