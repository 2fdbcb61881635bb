"""Reports: named queries written to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgtrace.api import LakeHandle
from pgtrace.report.csvfile import to_csv
from pgtrace.report.files import write_whole


def write_csv_report(
    lake: LakeHandle,
    out: Path,
    names: Sequence[str],
    *,
    since: str | None = None,
    until: str | None = None,
    server: str | None = None,
) -> Iterator[tuple[Path, int]]:
    """Write ``NAME.csv`` for each query (all if none is named); yields each path with its number of rows.

    Bounds apply to the queries that have such a parameter. Raises UsageError for an unknown query before anything is
    written.
    """
    from pgtrace.query import find, queries

    chosen = [find(name) for name in names] if names else list(queries().values())
    out.mkdir(parents=True, exist_ok=True)
    given = {key: value for key, value in (("since", since), ("until", until), ("server", server)) if value is not None}
    for query in chosen:
        parameters = {key: value for key, value in given.items() if key in query.parameters}
        rows = lake.query(query.name, **parameters).pl()
        path = out / f"{query.name}.csv"
        write_whole(path, to_csv(rows).encode())
        yield path, rows.height
