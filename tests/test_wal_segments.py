"""Raw WAL segments: the same rows as their text gives, each record once, whatever order they come and grow in."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import SAMPLES
from polars.testing import assert_frame_equal
from test_live_server import BIN, Server, running_server

import pgtrace
from pgtrace.api import LakeHandle
from pgtrace.errors import UsageError
from pgtrace.ingest import SourceResult, pgprograms
from pgtrace.ingest.walsegments import VERSIONS, page_header

WAL = SAMPLES / "pg15-mixed" / "wal"
NAME = "00000001000000000000004B"
SEGMENT = gzip.decompress((WAL / f"{NAME}.gz").read_bytes())
TEXT = WAL / f"{NAME}.txt"
PAGE = 8192
#: what a source's own place in the lake says, and not its records
PLACE = {"server", "source_id", "line_no", "line_count", "timeline"}

needs_15 = pytest.mark.skipif(
    15 not in pgprograms.programs([]), reason="pg_waldump 15 is not installed: apt-get install postgresql-15"
)
needs_server = pytest.mark.skipif(
    BIN is None, reason="PostgreSQL's server is not installed: apt-get install postgresql"
)


def rows(lake: LakeHandle, table: str = "wal_record") -> pl.DataFrame:
    found: pl.DataFrame = lake.sql(f"select * from {table}").pl()
    columns = [name for name in found.columns if name not in PLACE]
    return found.select(columns).sort(columns)


def put(folder: Path, content: bytes, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def told(results: list[SourceResult]) -> list[tuple[str, str]]:
    return [(result.status, (result.message or "").removeprefix(f"{result.path}: ")) for result in results]


def command(lake: LakeHandle, *arguments: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "pgtrace", "ingest", *arguments, "--lake", str(lake.path), "-q"]
    return subprocess.run(run, check=False, capture_output=True, text=True)


@pytest.fixture
def text_lake(tmp_path: Path) -> LakeHandle:
    found = pgtrace.open(tmp_path / "text")
    found.ingest(TEXT)
    return found


def test_the_page_header_says_what_it_is() -> None:
    header = page_header(SEGMENT)
    assert header is not None
    assert (VERSIONS[header.magic], header.timeline, header.address) == (15, 1, 0x4B00000)
    assert (header.segment_bytes, header.block_bytes, header.continued_to) == (1 << 20, PAGE, 0x4B013C9)
    assert page_header(SEGMENT[:39]) is None
    assert page_header(b"2026-11-24 06:21:59.871 UTC [81] LOG:  starting") is None


@needs_15
@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".lz4", ".bz2", ".xz", "-" + "0a" * 20 + ".gz", ".partial"])
def test_a_segment_gives_the_rows_of_its_text(
    ending: str, tmp_path: Path, lake: LakeHandle, text_lake: LakeHandle
) -> None:
    file = put(tmp_path / "wal", _packed(SEGMENT, Path(ending).suffix), NAME + ending)
    results = lake.ingest(file)
    assert told(results) == [("read", "")]
    assert results[0].log_format == "waldump"
    for table in ("wal_record", "wal_block"):
        assert_frame_equal(rows(lake, table), rows(text_lake, table))
    assert lake.sql("select distinct timeline from wal_record").fetchall() == [(1,)]
    assert lake.audit()[1] == []


def _packed(data: bytes, ending: str) -> bytes:
    ways: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    codecs = {".zst": "zstd", ".lz4": "lz4"}
    if ending not in codecs:
        return ways.get(ending, bytes)(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codecs[ending]) as out:
        out.write(data)
    return bytes(sink.getvalue())


@needs_15
def test_a_copy_of_a_segment_is_the_same_source(tmp_path: Path, lake: LakeHandle, text_lake: LakeHandle) -> None:
    lake.ingest(put(tmp_path / "pg_wal", SEGMENT))
    copy = put(tmp_path / "archive", gzip.compress(SEGMENT), f"{NAME}.gz")
    assert told(lake.ingest(copy)) == [("skipped", "")]
    assert_frame_equal(rows(lake), rows(text_lake))


@needs_15
def test_the_end_of_what_was_written_is_no_error_and_more_is_read_when_it_comes(
    tmp_path: Path, lake: LakeHandle, text_lake: LakeHandle
) -> None:
    written = 60 * PAGE
    # behind the end lie zeros, or what was in the recycled segment before
    for behind in (bytes(len(SEGMENT) - written), SEGMENT[: len(SEGMENT) - written]):
        file = put(tmp_path, SEGMENT[:written] + behind)
        assert told(pgtrace.open(tmp_path / f"lake{behind[0]}").ingest(file)) == [("read", "")]
    assert told(lake.ingest(file)) == [("read", "")]
    read = rows(lake).height
    assert 0 < read < rows(text_lake).height
    assert told(lake.ingest(file)) == [("skipped", "")]
    put(tmp_path, SEGMENT)
    [result] = lake.ingest(file)
    assert (result.status, result.records > 0) == ("read", True)
    assert_frame_equal(rows(lake), rows(text_lake))


@needs_15
def test_a_damaged_segment_says_where_and_what_stands_before_is_kept(
    tmp_path: Path, lake: LakeHandle, text_lake: LakeHandle
) -> None:
    bad = SEGMENT[: 60 * PAGE] + bytes(PAGE) + SEGMENT[61 * PAGE :]
    file = put(tmp_path, bad)
    for _ in range(2):
        [(status, message)] = told(lake.ingest(file))
        assert status == "failed"
        assert message.startswith("cannot be read on from 0/4B78000 (invalid magic number 0000")
    before = rows(lake).height
    assert 0 < before < rows(text_lake).height
    put(tmp_path, SEGMENT)
    lake.ingest(file)
    assert_frame_equal(rows(lake), rows(text_lake))


@needs_15
def test_a_segment_that_ends_early_is_read_as_far_as_it_goes(tmp_path: Path, lake: LakeHandle) -> None:
    [(status, message)] = told(lake.ingest(put(tmp_path, SEGMENT[: 60 * PAGE + 7])))
    assert (status, message[:38]) == ("failed", "ends early, at 491527 of 1048576 bytes")
    assert rows(lake).height > 100
    packed = gzip.compress(SEGMENT)
    [(status, message)] = told(lake.ingest(put(tmp_path, packed[: len(packed) // 2], f"{NAME}.gz"), server="b"))
    assert (status, message[:10]) == ("failed", "ends early")
    assert rows(lake).height > 200


@needs_15
def test_missing_segments_are_named(tmp_path: Path, lake: LakeHandle) -> None:
    put(tmp_path / "wal", SEGMENT)
    put(tmp_path / "wal", _moved(0x4D00000), "00000001000000000000004D")
    [(_, message), _] = told(lake.ingest(tmp_path / "wal"))
    assert message == (
        "WAL is missing behind it: 00000001000000000000004C is not there; the next one is 00000001000000000000004D"
    )


def _moved(address: int) -> bytes:
    """The segment with its first page as if it were at another address; pg_waldump finds nothing in it."""
    return SEGMENT[:8] + address.to_bytes(8, "little") + SEGMENT[16:PAGE] + bytes(len(SEGMENT) - PAGE)


def test_what_is_kept_for_wal_to_come_or_lies_beside_it_is_passed_over(tmp_path: Path, lake: LakeHandle) -> None:
    wal = tmp_path / "pg_wal"
    put(wal, SEGMENT, "000000010000000000000050")
    put(wal, bytes(1 << 20), "000000010000000000000051")
    put(wal, SEGMENT, f"{NAME}.partial")
    put(wal, b"1\t0/4B00000\tno recovery target specified\n", "00000002.history")
    put(wal, b"START WAL LOCATION: 0/4B00028\n", f"{NAME}.00000028.backup.gz")
    put(wal / "archive_status", b"", f"{NAME}.done")
    put(wal / "summaries", b"\0\1", "0000000100000000010000280000000001000100.summary")
    assert told(lake.ingest(wal)) == [
        ("skipped", "is not a whole segment; to read it, name it"),
        ("skipped", "is a recycled segment, kept for WAL to come: there is nothing of its own in it"),
        ("skipped", "is laid out for WAL to come: there is nothing in it yet"),
    ]
    beside = told(lake.ingest(wal / "00000002.history"))
    assert beside == [("skipped", "lies beside WAL and holds none: there is nothing to read")]
    assert rows(lake).is_empty()


def test_without_its_pg_waldump_a_segment_says_what_is_needed(
    tmp_path: Path, lake: LakeHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pgprograms, "_FOLDERS", ())
    other = tmp_path / "pg_waldump"
    other.write_text("#!/bin/sh\necho 'pg_waldump (PostgreSQL) 15.4'\n")
    other.chmod(0o755)
    file = put(tmp_path / "wal", (0xD113).to_bytes(2, "little") + SEGMENT[2:])
    assert told(lake.ingest(file)) == [
        (
            "failed",
            f"is WAL of PostgreSQL 16, and no pg_waldump of that version is here (found: 15 ({other})): install the "
            "package postgresql-16 or name the program with --pg-waldump; or make the text where there is one, "
            "pg_waldump SEGMENT > wal.txt, and ingest that",
        )
    ]
    put(tmp_path / "wal", (0xD098).to_bytes(2, "little") + SEGMENT[2:])
    assert "is WAL of a PostgreSQL before 12 (page magic 0xD098)" in told(lake.ingest(file))[0][1]
    [(status, message)] = told(lake.ingest(file, log_format="csvlog"))
    assert (status, message[:31]) == ("failed", "is a WAL segment and no csvlog:")
    with pytest.raises(UsageError, match="there is no pg_waldump"):
        lake.ingest(file, pg_waldump=tmp_path / "wal")
    put(tmp_path / "wal", SEGMENT)
    with pytest.raises(UsageError, match="does not run as a pg_waldump"):
        lake.ingest(file, pg_waldump="/bin/true")


@needs_15
def test_the_program_that_is_named_is_the_one_that_runs(tmp_path: Path, lake: LakeHandle) -> None:
    real = pgprograms.programs([])[15]
    own = tmp_path / "bin" / "pg_waldump"
    put(own.parent, f'#!/bin/sh\necho "$TZ $LC_ALL" > {tmp_path}/ran\nexec {real} "$@"\n'.encode(), "pg_waldump")
    own.chmod(0o755)
    file = put(tmp_path / "wal", SEGMENT)
    assert command(lake, str(file), "--pg-waldump", str(own.parent)).returncode == 0
    assert (tmp_path / "ran").read_text() == "UTC C\n"
    assert not rows(lake).is_empty()


def test_what_holds_for_several_segments_is_said_once(tmp_path: Path, lake: LakeHandle) -> None:
    for number in range(3):
        put(tmp_path / "wal", bytes(1 << 20), f"00000001000000000000000{number}")
    done = command(lake, str(tmp_path / "wal"))
    assert done.stderr.count("is laid out for WAL to come") == 1
    assert "(and 2 more)" in done.stderr


def test_of_a_segment_and_its_text_in_a_folder_the_text_is_read(lake: LakeHandle, text_lake: LakeHandle) -> None:
    results = lake.ingest(WAL)
    assert told(results) == [("left out", f"the same WAL as {TEXT}; name the file to read it too"), ("read", "")]
    assert_frame_equal(rows(lake), rows(text_lake))


@pytest.fixture
def wal_server() -> Iterator[Server]:
    with running_server("--wal-segsize=1") as found:
        found.sql("alter system set wal_keep_size = '1GB'")
        found.sql("select pg_reload_conf()")
        yield found


def bench(server: Server) -> list[str]:
    return ["-h", "127.0.0.1", "-p", server.port, "-U", "postgres", "postgres"]


def text_of(folder: Path, first: str, to: Path) -> Path:
    """One text of all the WAL in ``folder`` from the segment ``first`` on."""
    assert BIN is not None
    start = f"{int(first[8:16], 16):X}/{int(first[16:], 16) << 20:X}"
    dump = [str(BIN / "pg_waldump"), "-p", str(folder), "-s", start]
    done = subprocess.run(dump, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}, capture_output=True, check=False)
    to.write_bytes(done.stdout)
    return to


@needs_server
def test_every_record_is_read_once_in_whatever_order_segments_come(wal_server: Server, tmp_path: Path) -> None:
    wal_server.run("pgbench", "-i", "-q", *bench(wal_server))
    # a record that several segments are a part of, and a segment that ends early
    wal_server.sql("select pg_logical_emit_message(true, 'big', repeat('x', 2500000))")
    wal_server.sql("select pg_switch_wal()")
    wal_server.run("pgbench", "-n", "-t", "1000", *bench(wal_server))
    wal_server.control("stop")
    wal = wal_server.data / "pg_wal"
    expected = pgtrace.open(tmp_path / "text")
    segments = sorted(path for path in wal.iterdir() if len(path.name) == 24)
    expected.ingest(text_of(wal, segments[0].name, tmp_path / "wal.txt"))
    shuffled = random.Random(1).sample(segments, len(segments))
    for number, given in enumerate(([wal], segments, shuffled)):
        lake = pgtrace.open(tmp_path / f"lake{number}")
        assert {result.status for result in lake.ingest(given)} <= {"read", "skipped"}
        for table in ("wal_record", "wal_block"):
            assert_frame_equal(rows(lake, table), rows(expected, table))
        assert lake.audit()[1] == []
    grown = pgtrace.open(tmp_path / "grown")
    for number, segment in enumerate(segments):
        shutil.copy2(segment, put(tmp_path / "archive", b"", segment.name))
        if number % 3 == 0:
            grown.ingest(tmp_path / "archive")
    grown.ingest(tmp_path / "archive")
    lsns = "lsn", "prev_lsn", "xid", "description"
    assert_frame_equal(rows(grown).select(lsns), rows(expected).select(lsns))


@needs_server
def test_wal_that_is_read_while_the_server_writes_it_is_whole_in_the_end(wal_server: Server, tmp_path: Path) -> None:
    wal_server.run("pgbench", "-i", "-q", *bench(wal_server))
    wal = wal_server.data / "pg_wal"
    lake = pgtrace.open(tmp_path / "lake")
    assert BIN is not None
    with subprocess.Popen(
        [str(BIN / "pgbench"), "-c", "2", "-T", "4", "-n", *bench(wal_server)], cwd="/", stdout=-1, stderr=-1
    ) as busy:
        while busy.poll() is None:
            assert "failed" not in {result.status for result in lake.ingest(wal)}
    wal_server.control("stop")
    lake.ingest(wal)
    expected = pgtrace.open(tmp_path / "text")
    first = min(path.name for path in wal.iterdir() if len(path.name) == 24)
    expected.ingest(text_of(wal, first, tmp_path / "wal.txt"))
    for table in ("wal_record", "wal_block"):
        assert_frame_equal(rows(lake, table), rows(expected, table))
    assert lake.audit()[1] == []
