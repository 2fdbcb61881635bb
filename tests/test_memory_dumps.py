"""A process out of memory writes its memory contexts without prefix, before its error: they are that error's."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from pgtrace import registry
from pgtrace.ingest.chunks import chunks
from pgtrace.logformat import Parsed, Reading
from pgtrace.schema import RECORD, fitted

LOG = (Path(__file__).parent / "data" / "stderr" / "out_of_memory.log").read_bytes()
READING = Reading("stderr", prefix="%m [%p] %q%u@%d/%a ")
STDERR = registry.log_formats()["stderr"]


def read(log: bytes, size: int | None = None) -> Parsed:
    cut = chunks(io.BytesIO(log), STDERR, READING, 0, 1, size or len(log) + 1)
    parts = [STDERR.read(chunk.data, READING, chunk.first_line) for chunk in cut]
    return Parsed(
        pl.concat([part.records for part in parts], how="diagonal"), pl.concat([part.unparsed for part in parts])
    )


def dumps(parsed: Parsed) -> list[tuple[str, int, str | None]]:
    rows = fitted(parsed.records, RECORD.columns).select("message", "line_count", "memory_contexts").rows()
    return [(message, count, text) for message, count, text in rows if text is not None]


def test_the_contexts_are_those_of_the_error_behind_them() -> None:
    parsed = read(LOG)
    found = dumps(parsed)
    assert [(message, count) for message, count, _ in found] == [("out of memory", 14), ("out of memory", 14)]
    for _, _, text in found:
        assert text is not None
        lines = text.split("\n")
        assert lines[0].startswith("TopMemoryContext: ")
        assert lines[1].startswith("  ")
        assert lines[-1].startswith("Grand total: ")
        assert len(lines) == 11
    assert parsed.records.filter(message="division by zero")["statement"].to_list() == ["select 1/0"] * 2
    assert parsed.unparsed.is_empty()
    assert parsed.records["line_count"].sum() == LOG.count(b"\n")


@pytest.mark.parametrize("size", [200, 700, 1500, 2000, 3000])
def test_wherever_the_log_is_cut(size: int) -> None:
    whole, cut = read(LOG), read(LOG, size)
    assert dumps(cut) == dumps(whole)
    assert cut.unparsed.is_empty()


def test_another_process_may_write_between_the_contexts_and_their_error() -> None:
    lines = LOG.split(b"\n")
    other = next(line for line in lines if b"division by zero" in line)
    last = next(number for number, line in enumerate(lines) if line.startswith(b"Grand total"))
    middle = next(number for number, line in enumerate(lines) if line.startswith(b"TopMemoryContext")) + 3
    mixed = [*lines[:middle], other, *lines[middle : last + 1], other, *lines[last + 1 :]]
    parsed = read(b"\n".join(mixed))
    assert dumps(parsed) == dumps(read(LOG))
    assert parsed.records.filter(message="division by zero").height == 4


def test_contexts_without_an_error_are_kept_as_unparsed_lines() -> None:
    lines = [line for line in LOG.split(b"\n") if b"out of memory" not in line and b"Failed on request" not in line]
    parsed = read(b"\n".join(lines))
    assert dumps(parsed) == []
    assert parsed.unparsed["text"].str.starts_with("TopMemoryContext").sum() == 2
    assert parsed.records["line_count"].sum() + parsed.unparsed.height == len(lines) - 1
