"""What an ingest did, one row per source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(slots=True)
class SourceResult:
    """One source: what was read of it now (not in earlier runs).

    ``status`` is read, skipped (nothing new), left out (the same events as another file) or failed; ``message`` says
    why, or what else a person should know.
    """

    path: str
    server: str
    status: str = "skipped"
    log_format: str | None = None
    bytes_read: int = 0
    lines: int = 0
    records: int = 0
    statements: int = 0
    unparsed: int = 0
    held_back_lines: int = 0
    seconds: float = 0.0
    message: str | None = None

    @property
    def mb_per_s(self) -> float | None:
        """Decompressed megabytes (10⁶ bytes) per second, None where nothing was read."""
        return self.bytes_read / 1e6 / self.seconds if self.bytes_read and self.seconds else None


def results_frame(results: Sequence[SourceResult]) -> pl.DataFrame:
    """One row per source, as ``pgtrace ingest`` prints it."""
    columns = {
        "source": pl.String,
        "status": pl.String,
        "log_format": pl.String,
        "lines": pl.Int64,
        "records": pl.Int64,
        "statements": pl.Int64,
        "unparsed": pl.Int64,
        "held_back": pl.Int64,
        "mb": pl.Float64,
        "mb_per_s": pl.Float64,
    }
    rows = [
        (
            result.path,
            result.status,
            result.log_format,
            result.lines,
            result.records,
            result.statements,
            result.unparsed,
            result.held_back_lines,
            round(result.bytes_read / 1e6, 3),
            None if result.mb_per_s is None else round(result.mb_per_s, 1),
        )
        for result in results
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")
