"""The text of pg_waldump, versions 12 to 18, with and without -b; also pg_walinspect's rows in that layout.

It fills tables of its own, ``wal_record`` and ``wal_block``, and no ``record``.

Limitations: the text does not say the timeline. Texts of several segments may be in one file in any order, but end_lsn
and times are only known where records follow each other.
"""

from __future__ import annotations

from pgtrace.encoding import clean_utf8
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.walrecords import read_wal
from pgtrace.waltables import WAL_BLOCK, WAL_RECORD
from pgtrace.waltext import first_lsn, last_head
from pgtrace.waltimes import join_blocks, join_records

_SAMPLE_BYTES = 65_536


def sniff(head: bytes, asked: Reading) -> Reading | None:
    """A line that is a record's is one of pg_waldump; nothing else begins like that. Raises TimeZoneError."""
    if first_lsn(clean_utf8(head)) is None:
        return None
    reading = Reading("waldump", timezone=asked.timezone)
    read(head[:_SAMPLE_BYTES], reading, 1)  # a zone that needs an option shows here
    return reading


def last_record(buffer: bytes, reading: Reading) -> int:
    """Where the last line begins that is a record's first."""
    return last_head(buffer)


def read(chunk: bytes, reading: Reading, first_line: int) -> Parsed:
    """Read whole records. Raises TimeZoneError."""
    return read_wal(chunk, first_line, reading.timezone, timeline=reading.timeline, redact=reading.redact)


def position(head: bytes, reading: Reading) -> int | None:
    """The LSN that the text begins with."""
    return first_lsn(clean_utf8(head))


FORMAT = LogFormat(
    name="waldump",
    rank=5,
    sniff=sniff,
    last_record=last_record,
    read=read,
    tables=(WAL_RECORD, WAL_BLOCK),
    join_with={WAL_RECORD.name: join_records, WAL_BLOCK.name: join_blocks},
    position=position,
)
