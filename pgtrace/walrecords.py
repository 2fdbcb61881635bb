"""The text of ``pg_waldump`` into rows of ``wal_record`` and ``wal_block``: whole columns, no loop over records.

Every line is of a record or unparsed. A line without a line end was cut off, and is not trusted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from pgtrace.bytewords import Letters, Places, begins, nullable
from pgtrace.encoding import clean_utf8
from pgtrace.logformat import Parsed
from pgtrace.recordframe import RECORD_SCHEMA, UNPARSED_SCHEMA
from pgtrace.schema import polars_schema
from pgtrace.walblocks import FOR_VERIFICATION, FORKS, NO_IMAGE, Blocks, read_blocks
from pgtrace.waltables import WAL_BLOCK, WAL_RECORD
from pgtrace.waltext import Heads, pieces, read_heads
from pgtrace.waltimes import brackets, printed_times

#: resource managers whose descriptions hold names that users choose; none of their records refers to blocks
_NAMED = (b"Transact", b"LogicalM", b"Tablespa")
#: records that may take more lines, for such a name has line ends: how they begin, and what is where they end
_OPEN = re.compile(rb'MESSAGE [a-z-]+, prefix "|PREPARE gid ')
_CLOSED = re.compile(rb'"; payload \(\d+ bytes\):|: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d')
_MOST_LINES = 1000
_DATETIME = pl.Datetime("us", "UTC")

_RECORD_SCHEMA, _BLOCK_SCHEMA = (
    pl.Schema({name: dtype for name, dtype in polars_schema(table.columns).items() if name != "source_id"})
    for table in (WAL_RECORD, WAL_BLOCK)
)
#: with what ``join_blocks`` needs and nobody stores
_JOINED_BLOCK_SCHEMA = pl.Schema(_BLOCK_SCHEMA)
_JOINED_BLOCK_SCHEMA.update({"first_lsn": pl.UInt64(), "timeline": pl.Int64(), "is_before_commits": pl.Boolean()})


@dataclass(slots=True)
class _Lines:
    """A text in lines, and the records that begin on some of them."""

    letters: Letters
    starts: Places
    ends: Places
    heads: Heads

    def record_numbers(self) -> Places:
        """For every line the number of the record that begins on it, or -1."""
        numbers = np.full(self.starts.size, -1, dtype=np.int64)
        numbers[self.heads.line] = np.arange(self.heads.line.size)
        return numbers


def read_wal(
    chunk: bytes, first_line: int, timezone: str | None, *, timeline: int | None = None, redact: bool = False
) -> Parsed:
    """Read whole records. Raises TimeZoneError for times in a zone that must be named.

    ``timeline`` is that of the records, where it is known; ``redact`` leaves out what logical messages carry.
    """
    text = clean_utf8(chunk)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    letters = Letters(text)
    places, found = letters.find(b"\n", b"#")
    is_end = found == ord("\n")
    ends = places[is_end]
    is_hash = ~is_end & (places >= len(", blkref "))
    hashes, line = places[is_hash], np.cumsum(is_end)[is_hash]
    is_cut = text != b"" and not text.endswith(b"\n")
    if is_cut:
        ends = np.append(ends, len(text))
    starts = np.append(0, ends[:-1] + 1) if ends.size else ends
    lines = _Lines(letters, starts, ends, read_heads(letters, starts, ends))
    blocks, details = _blocks(lines, hashes, line)
    bad = dict.fromkeys(blocks.line[~blocks.fits].tolist(), "its block references cannot be read")
    if is_cut:
        bad[starts.size - 1] = "cut off: the line has no end"
    if bad:
        lines.heads = lines.heads.kept(~np.isin(lines.heads.line, list(bad)))
    owner, text_ends = _owners(lines, list(bad))
    records = _records(lines, blocks, owner, text_ends, timezone).with_columns(
        pl.col("line_no") + first_line, pl.lit(timeline, pl.Int64).alias("timeline")
    )
    if redact:
        payload = pl.col("description").str.replace(r"(?s)(; payload \([0-9]+ bytes\):) .*", "$1 …")
        records = records.with_columns(
            pl.when(pl.col("resource_manager") == "LogicalMessage").then(payload).otherwise("description")
        )
    tables = {
        WAL_RECORD.name: records.select(_RECORD_SCHEMA.names()),
        WAL_BLOCK.name: _block_rows(blocks, details, owner, records),
    }
    return Parsed(RECORD_SCHEMA.to_frame(), _unparsed(lines, owner, bad, records, first_line), tables)


def _blocks(lines: _Lines, at: Places, line: Places) -> tuple[Blocks, pl.DataFrame]:
    """Block references behind records, and on lines of their own, by the places of all ``#`` and their lines."""
    letters, heads = lines.letters, lines.heads
    is_behind = begins(letters.words(at - len(", blkref ")), b", blkref")
    before = letters.words(at - len(" blkref "))
    is_alone = begins(before, b"\tblkref ") & (at == lines.starts[line] + len("\tblkref "))
    is_like = is_behind | is_alone | begins(before, b" blkref ")
    if not is_like.all():
        at, line, is_behind, is_alone = (part[is_like] for part in (at, line, is_behind, is_alone))
    record = lines.record_numbers()[line]
    may_have = ~begins(heads.type, b"RESTORE_")
    for name in _NAMED:
        may_have &= ~begins(heads.name, name)
    keep = np.append(may_have, False)[record] | (is_alone & (record < 0))
    if not keep.all():
        at, line, is_behind, record = at[keep], line[keep], is_behind[keep], record[keep]
    blocks, details = read_blocks(letters, at, line, lines.ends)
    is_first = np.append(True, line[1:] != line[:-1])[: line.size]
    blocks.fits &= ~is_first | is_behind | (record < 0)
    return blocks, details


def _owners(lines: _Lines, bad: list[int]) -> tuple[Places, Places]:
    """For every line the number of its record, or -1; and where the text of each record ends."""
    owner = lines.record_numbers()
    text_ends = lines.ends[lines.heads.line]
    if lines.heads.line.size == owner.size:
        return owner, text_ends
    is_part = begins(lines.letters.words(lines.starts), b"\tblkref ")
    owner = owner[np.maximum.accumulate(np.where(is_part, 0, np.arange(owner.size)))]
    owner[bad] = -1
    is_open = begins(lines.heads.type, b"MESSAGE ") | begins(lines.heads.type, b"PREPARE ")
    is_loose = np.append(owner[1:] < 0, False)[lines.heads.line]
    for record in np.flatnonzero(is_open & is_loose).tolist():
        first = int(lines.heads.line[record])
        last = _last_line(lines, owner, first, int(lines.heads.type_at[record]))
        owner[first : last + 1] = record
        text_ends[record] = lines.ends[last]
    return owner, text_ends


def _last_line(lines: _Lines, owner: Places, first: int, type_at: int) -> int:
    """The last line of a record that begins on line ``first`` and whose name may have line ends; few have."""
    text = lines.letters.text
    opened = _OPEN.match(text, type_at, lines.ends[first])
    if opened is None or _CLOSED.search(text, opened.end(), lines.ends[first]) is not None:
        return first
    for line in range(first + 1, min(first + _MOST_LINES, owner.size)):
        if owner[line] >= 0:
            break
        if _CLOSED.search(text, lines.starts[line], lines.ends[line]) is not None:
            return line
    return first


def _records(lines: _Lines, blocks: Blocks, owner: Places, text_ends: Places, timezone: str | None) -> pl.DataFrame:
    """Rows of ``wal_record``; ``line_no`` counts from 0."""
    letters, heads = lines.letters, lines.heads
    count = heads.line.size
    of_block = owner[blocks.line]
    is_behind = blocks.line == np.append(heads.line, -1)[of_block]
    is_first = np.append(True, of_block[1:] != of_block[:-1])[: of_block.size] & is_behind & blocks.fits
    text_ends[of_block[is_first]] = blocks.at[is_first] - len(", blkref ")
    text_ends = np.maximum(text_ends, heads.type_end)
    begin = np.minimum(heads.type_end + 1, text_ends)
    text_ends -= (letters.letters[text_ends - 1] == ord(" ")) & (text_ends > begin)
    names = pieces(letters.text, heads.name_at, heads.name_end, heads.type_at, heads.type_end, begin, text_ends)
    owned = of_block[blocks.fits & (of_block >= 0)]
    imaged = of_block[blocks.fits & (of_block >= 0) & (blocks.image != NO_IMAGE)]
    line_counts = np.bincount(owner[owner >= 0], minlength=count) if owner.size > count else np.ones(count, np.int64)
    next_prev, next_lsn = (np.append(lsn[1:], np.uint64(0)) for lsn in (heads.prev_lsn, heads.lsn))
    frame = pl.DataFrame(
        {
            "line_no": heads.line,
            "line_count": line_counts,
            "lsn": heads.lsn,
            "prev_lsn": nullable(heads.prev_lsn, heads.prev_lsn != 0),
            "end_lsn": nullable(next_lsn[:count], (next_prev == heads.lsn)[:count] & (next_lsn > heads.lsn)[:count]),
            "xid": nullable(heads.xid.view(np.int64), heads.xid != 0),
            "resource_manager": names[0],
            "record_type": names[1],
            "record_bytes": heads.record_bytes.view(np.int64),
            "fpi_bytes": (heads.total_bytes - heads.record_bytes).view(np.int64),
            "total_bytes": heads.total_bytes.view(np.int64),
            "description": names[2],
            "block_count": np.bincount(owned, minlength=count),
            "fpi_count": np.bincount(imaged, minlength=count),
        }
    )
    frame = frame.with_columns(pl.when(pl.Series(begin < text_ends)).then("description").alias("description"))
    return _with_times(frame, heads, timezone)


def _with_times(frame: pl.DataFrame, heads: Heads, timezone: str | None) -> pl.DataFrame:
    """The rows with all that is known of their time."""
    is_transaction = begins(heads.name, b"Transact")
    is_commit = is_transaction & begins(heads.type, b"COMMIT")
    is_abort = is_transaction & begins(heads.type, b"ABORT")
    is_prepare = is_transaction & begins(heads.type, b"PREPARE")
    has_other = begins(heads.type, b"END_OF_R") | begins(heads.type, b"OVERWRIT")
    rows = np.flatnonzero(is_commit | is_abort | is_prepare | has_other)
    printed = printed_times(frame["description"].gather(rows), timezone).with_columns(
        row=pl.Series(rows, dtype=pl.UInt32), is_own=pl.Series(~has_other[rows])
    )
    printed = printed.filter(pl.col("time").is_not_null())
    own = printed.filter("is_own")
    nothing = pl.DataFrame(schema={"time": _DATETIME, "gid": pl.String, "prepared_xid": pl.Int64}).clear(frame.height)
    said = nothing.with_columns(nothing[name].scatter(own["row"], own[name]) for name in nothing.columns)
    known = brackets(heads.lsn, printed["row"].to_numpy(), printed["time"], printed["is_own"].to_numpy())
    flags = pl.DataFrame({"is_commit": is_commit, "is_abort": is_abort})
    return pl.concat([frame, said.rename({"time": "committed_at"}), known, flags], how="horizontal")


def _block_rows(blocks: Blocks, details: pl.DataFrame, owner: Places, records: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``wal_block``, and behind them the one that ``join_blocks`` wants."""
    record = owner[blocks.line]
    keep = blocks.fits & (record >= 0)
    frame = pl.DataFrame(
        {
            "record": record,
            "block_no": blocks.block_no.view(np.int64),
            "tablespace_oid": blocks.tablespace_oid.view(np.int64),
            "database_oid": blocks.database_oid.view(np.int64),
            "relfilenode": blocks.relfilenode.view(np.int64),
            "fork": pl.Series(FORKS).gather(blocks.fork),
            "block": blocks.block.view(np.int64),
            "is_full_page": blocks.image != NO_IMAGE,
            "is_fpi_for_verification": blocks.image == FOR_VERIFICATION,
        }
    )
    if details.height:
        frame = frame.with_row_index("reference").join(details, on="reference", how="left", maintain_order="left")
    if not keep.all():
        frame = frame.filter(pl.Series(keep))
    shared = records.select(
        "line_no",
        "lsn",
        "xid",
        "resource_manager",
        "record_type",
        "time_after",
        "timeline",
        is_before_commits=_is_before_commits(records),
    )
    frame = pl.concat([frame.drop("record"), shared[frame["record"]]], how="horizontal")
    edge = shared.tail(1).with_columns(first_lsn=shared["lsn"].head(1))
    return pl.concat([_as(frame, _JOINED_BLOCK_SCHEMA), _as(edge, _JOINED_BLOCK_SCHEMA)])


def _as(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
    )


def _is_before_commits(records: pl.DataFrame) -> pl.Series:
    """Whether no commit is known before a record, and only the part before this one could know one."""
    is_open = records["time_after"].is_null().to_numpy()
    lsn = records["lsn"].to_numpy()
    ends = [*np.flatnonzero(lsn[1:] <= lsn[:-1])[:1] + 1, *np.flatnonzero(~is_open)[:1], records.height]
    return pl.Series(np.arange(records.height) < min(ends))


def _unparsed(
    lines: _Lines, owner: Places, bad: dict[int, str], records: pl.DataFrame, first_line: int
) -> pl.DataFrame:
    """Lines of no record; ``near`` is what is known of the time of the record before each."""
    rows = np.flatnonzero(owner < 0)
    if not rows.size:
        return UNPARSED_SCHEMA.to_frame()
    [texts] = pieces(lines.letters.text, lines.starts[rows], lines.ends[rows])
    text = pl.col("text")
    frame = pl.DataFrame({"line_no": rows, "text": texts}).with_columns(
        pl.when(text.str.starts_with("pg_waldump: ") | text.str.starts_with("first record is after "))
        .then(pl.lit("what pg_waldump says of itself"))
        .when(text.str.starts_with("\tblkref #"))
        .then(pl.lit("a block reference without its record"))
        .otherwise(pl.lit("no record of pg_waldump's"))
        .alias("reason")
    )
    if bad:
        known = pl.DataFrame({"line_no": list(bad), "known": list(bad.values())})
        frame = frame.join(known, on="line_no", how="left", maintain_order="left")
        frame = frame.with_columns(pl.coalesce("known", "reason").alias("reason"))
    frame = frame.with_columns(pl.col("line_no") + first_line)
    times = records.select("line_no", near="time_after")
    return frame.join_asof(times, on="line_no").select(
        pl.col(name).cast(dtype) for name, dtype in UNPARSED_SCHEMA.items()
    )
