"""A log format: how the bytes of one kind of log become the one ``record`` frame.

A format lives in one file of ``parsers/formats`` as a constant ``FORMAT = LogFormat(...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgtrace.message import Joined
from pgtrace.schema import Table

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read one source: what was asked for and what its first bytes showed. Pickles, so it can travel.

    ``prefix`` is a log_line_prefix, ``timezone`` an IANA name for the abbreviations in the log, ``line_end`` the
    bytes that end a line of the file, ``columns`` the number of fields of a csvlog, ``language`` the one of its
    messages where that is not English, ``redact`` whether values are left out.
    """

    log_format: str
    prefix: str | None = None
    timezone: str | None = None
    line_end: bytes = b"\n"
    columns: int | None = None
    language: str | None = None
    redact: bool = False
    #: of the WAL segment that the text is of
    timeline: int | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one chunk held.

    ``records`` has the columns of the record table but ``source_id`` and ``kind``; columns that the format cannot
    carry may be absent. ``unparsed`` has ``line_no, text, reason, near``. Every line of the chunk is in one of the
    two: ``records["line_count"].sum() + len(unparsed)`` is the number of lines. A format that holds no server messages
    gives ``tables`` instead, rows by the name of its own tables, the first of which has ``line_count``.
    """

    records: pl.DataFrame
    unparsed: pl.DataFrame
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)


#: rows of a table, pid and line_no of records that failed, and what waits from the part before
Join = Callable[["pl.DataFrame", "pl.DataFrame", "pl.DataFrame | None"], Joined]


@dataclass(frozen=True, slots=True)
class LogFormat:
    """How one kind of log is recognised, cut and read.

    ``sniff(head, asked)`` looks at the first bytes of a source (up to 256 kB, decompressed) and returns how to
    read it, or None where the bytes are not of this format; what ``asked`` fixes (prefix, timezone) is kept. It
    raises TimeZoneError or UnknownFormatError where it is this format but cannot be read as asked. Formats
    are asked in the order of ``rank``.

    ``last_record(buffer, reading)`` is the offset at which the last record of ``buffer`` begins (0 when there is
    only one); everything before it is whole. It looks at the end of the buffer only.

    ``read(chunk, reading, first_line)`` reads whole records; ``first_line`` is the number of the chunk's first line,
    counted from 1.
    """

    name: str
    rank: int
    sniff: Callable[[bytes, Reading], Reading | None]
    last_record: Callable[[bytes, Reading], int]
    read: Callable[[bytes, Reading, int], Parsed]
    #: tables of its own that a format fills, where it holds no server messages
    tables: tuple[Table, ...] = ()
    #: by table, what joins its rows across the parts of a source: see ``MessageType.join_with``
    join_with: Mapping[str, Join] = field(default_factory=dict, hash=False)
    #: where a source begins in an order of all sources of the format, where that is not by time
    position: Callable[[bytes, Reading], int | None] | None = None
