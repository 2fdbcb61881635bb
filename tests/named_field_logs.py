"""What the tests of csvlog and jsonlog share: both must lose nothing, wherever a file is cut."""

from functools import cache
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from pgtrace.logformat import LogFormat, Parsed, Reading

DATA = Path(__file__).parent / "data"


def lines_in(text: bytes) -> int:
    return text.count(b"\n") + (text != b"" and not text.endswith(b"\n"))


def read_all(log_format: LogFormat, text: bytes, reading: Reading, first_line: int = 1) -> Parsed:
    """Read ``text``; every line must be in a record or unparsed, and no line in both."""
    parsed = log_format.read(text, reading, first_line)
    taken = parsed.records.select(pl.int_ranges("line_no", pl.col("line_no") + pl.col("line_count")).explode())
    numbers = sorted([*taken.to_series(), *parsed.unparsed["line_no"]])
    assert numbers == list(range(first_line, first_line + lines_in(text)))
    return parsed


@cache
def records_of(log_format: LogFormat, text: bytes, reading: Reading) -> pl.DataFrame:
    """The records of a whole file."""
    return log_format.read(text, reading, 1).records


def record_starts(records: pl.DataFrame, text: bytes) -> list[int]:
    """Byte offset of each record in ``text``."""
    line_starts = [0]
    while (newline := text.find(b"\n", line_starts[-1])) >= 0:
        line_starts.append(newline + 1)
    return [line_starts[line_no - 1] for line_no in records["line_no"]]


def assert_same_records(records: pl.DataFrame, expected: pl.DataFrame, ignore: tuple[str, ...] = ()) -> None:
    assert_frame_equal(records.drop("line_no", *ignore), expected.drop("line_no", *ignore))


def assert_survives_cut(log_format: LogFormat, text: bytes, reading: Reading, cut: int) -> None:
    """A file that ends at ``cut`` and one that begins there together have every record but the one that was cut."""
    whole = records_of(log_format, text, reading)
    starts = record_starts(whole, text)
    before = sum(end <= cut for end in [*starts[1:], len(text)])
    head = read_all(log_format, text[:cut], reading).records
    # nothing tells a number that is cut from a whole one, and the last field of both formats is one
    assert head.height - before in (0, 1)
    assert_same_records(head.head(before), whole.head(before))
    assert_same_records(head.slice(before), whole.slice(before, head.height - before), ignore=("query_id",))
    after = sum(start >= cut for start in starts)
    tail = read_all(log_format, text[cut:], reading, first_line=1000).records
    assert_same_records(tail, whole.tail(after) if after else whole.clear())


def assert_chunks_are_whole(log_format: LogFormat, text: bytes, reading: Reading) -> None:
    """Wherever a buffer ends, it is cut at a record's start, and the pieces read like the whole."""
    whole = records_of(log_format, text, reading)
    starts = record_starts(whole, text)
    cuts = set()
    for size in range(1, len(text) + 1):
        cut = log_format.last_record(text[:size], reading)
        begun = [start for start in starts if start < size]
        assert cut in begun[-2:], size
        cuts.add(cut)
    for cut in cuts:
        first = read_all(log_format, text[:cut], reading)
        second = read_all(log_format, text[cut:], reading, 1 + lines_in(text[:cut]))
        assert first.unparsed.is_empty()
        assert second.unparsed.is_empty()
        assert_frame_equal(pl.concat([first.records, second.records]), whole)
