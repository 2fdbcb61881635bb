"""Reading is exactly once: whatever happens to the file, the lake ends up as if it had been read whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import SAMPLES

import pgtrace
from pgtrace.api import LakeHandle

LOG = SAMPLES / "pg15-mixed" / "postgresql.log"
PREFIX = "%m [%p] %q%u@%d/%a "
Contents = dict[str, pl.DataFrame]
TABLES = ("record", "unparsed", "statement", "query")


def contents(lake: LakeHandle) -> Contents:
    """Rows of the tables without what names the source; of a query what does not depend on who was first."""
    found = {
        table: lake.sql(f'select * exclude (server, source_id) from "{table}"').pl().sort("line_no")
        for table in TABLES
        if table != "query"
    }
    shape = "select fingerprint, verb, relations_read, relations_written, is_parsed from query order by all"
    return {**found, "query": lake.sql(shape).pl()}


def meets(lake: LakeHandle) -> bool:
    rows, problems = lake.audit()
    assert problems == []
    return bool(rows["meets"].all())


def age(path: Path) -> None:
    """A file that the server has not written to for an hour."""
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    lake = pgtrace.open(tmp_path_factory.mktemp("whole") / "lake")
    lake.ingest([LOG])
    return contents(lake)


def same(lake: LakeHandle, whole: Contents) -> bool:
    found = contents(lake)
    return all(found[table].equals(whole[table]) for table in TABLES)


def test_second_ingest_reads_nothing(lake: LakeHandle, whole: Contents) -> None:
    lake.ingest([LOG])
    [again] = lake.ingest([LOG])
    assert (again.status, again.bytes_read, again.records) == ("skipped", 0, 0)
    assert same(lake, whole)


CUTS = (0.1, 0.33333, 0.5, 0.77777, 0.99999)


@pytest.mark.parametrize("share", CUTS)
def test_a_grown_file_is_read_from_where_it_ended(
    lake: LakeHandle, whole: Contents, tmp_path: Path, share: float
) -> None:
    text = LOG.read_bytes()
    cut = int(len(text) * share)
    log = tmp_path / "postgresql.log"
    log.write_bytes(text[:cut])
    lake.ingest([log])
    assert meets(lake)
    log.write_bytes(text)
    [grown] = lake.ingest([log])
    assert grown.bytes_read < len(text) - cut + 20_000
    assert meets(lake)
    assert same(lake, whole)


def test_a_log_that_grows_record_by_record_is_read_as_a_whole(lake: LakeHandle, tmp_path: Path) -> None:
    text = b"".join(LOG.read_bytes().splitlines(keepends=True)[:60])
    log = tmp_path / "postgresql.log"
    for end in range(200, len(text) + 200, 200):
        log.write_bytes(text[:end])
        lake.ingest([log])
        assert meets(lake)
    other = pgtrace.open(tmp_path / "other")
    other.ingest([log])
    assert same(lake, contents(other))


def test_an_unfinished_last_record_is_held_back(lake: LakeHandle, tmp_path: Path) -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)[:10]
    log = tmp_path / "postgresql.log"
    log.write_bytes(b"".join(lines) + lines[0][:40])
    [result] = lake.ingest([log])
    assert (result.records, result.held_back_lines) == (9, 2)  # a DETAIL of the tenth may be under way
    assert meets(lake)
    log.write_bytes(b"".join(lines) + lines[0])
    lake.ingest([log])
    assert lake.sql("select count(*) from record").fetchall() == [(11,)]


def test_a_file_cut_off_long_ago_is_read_to_its_end(lake: LakeHandle, tmp_path: Path) -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)[:10]
    log = tmp_path / "postgresql.log"
    log.write_bytes(b"".join(lines)[:-20])
    age(log)
    [result] = lake.ingest([log])
    assert (result.records, result.held_back_lines) == (10, 0)


def test_a_renamed_file_is_recognised(lake: LakeHandle, whole: Contents, tmp_path: Path) -> None:
    log = shutil.copy(LOG, tmp_path / "postgresql.log")
    lake.ingest([log])
    renamed = Path(log).rename(tmp_path / "postgresql.log.1")
    [result] = lake.ingest([renamed])
    assert (result.status, result.records) == ("skipped", 0)
    assert same(lake, whole)


def test_a_rotated_and_compressed_file_is_recognised(lake: LakeHandle, whole: Contents, tmp_path: Path) -> None:
    text = LOG.read_bytes()
    log = tmp_path / "postgresql.log"
    log.write_bytes(text[:300_000])
    lake.ingest([log])
    rotated = tmp_path / "postgresql.log.1.gz"
    rotated.write_bytes(gzip.compress(text))
    log.unlink()
    lake.ingest([tmp_path / "postgresql.log*"])
    assert same(lake, whole)
    [again] = lake.ingest([rotated])
    assert again.status == "skipped"


def test_copytruncate_is_noticed(lake: LakeHandle, tmp_path: Path) -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)
    log = tmp_path / "postgresql.log"
    log.write_bytes(b"".join(lines[:100]))
    lake.ingest([log])
    shutil.copy(log, tmp_path / "postgresql.log.1")
    log.write_bytes(b"".join(lines[100:150]))
    lake.ingest([tmp_path])
    assert meets(lake)
    rows, _ = lake.audit()
    assert rows["lines"].sum() == 150


def test_a_shorter_copy_holds_nothing_new(lake: LakeHandle, whole: Contents, tmp_path: Path) -> None:
    lake.ingest([LOG])
    (tmp_path / "copy.log").write_bytes(LOG.read_bytes()[:100_000])
    [result] = lake.ingest([tmp_path / "copy.log"])
    assert result.status == "skipped"
    assert "shorter copy" in (result.message or "")
    assert same(lake, whole)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_files_give_the_same_rows(lake: LakeHandle, whole: Contents, tmp_path: Path, suffix: str) -> None:
    log = tmp_path / f"postgresql.log.{suffix}"
    log.write_bytes(COMPRESSORS[suffix](LOG.read_bytes()))
    lake.ingest([log])
    assert same(lake, whole)
    assert meets(lake)


def test_an_archive_gives_the_same_rows(lake: LakeHandle, whole: Contents, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "logs.tar.gz", "w:gz") as archive:
        archive.add(LOG, "pg_log/postgresql.log")
    [result] = lake.ingest([tmp_path / "logs.tar.gz"])
    assert result.path.endswith("!pg_log/postgresql.log")
    assert same(lake, whole)


def test_standard_input_gives_the_same_rows(whole: Contents, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import pgtrace.cli; pgtrace.cli.main()",
        "ingest",
        "-",
        "--lake",
        str(tmp_path / "lake"),
    ]
    with LOG.open("rb") as log:
        subprocess.run(command, stdin=log, check=True, capture_output=True)
    assert same(pgtrace.open(tmp_path / "lake"), whole)


def test_a_damaged_archive_loses_nothing_that_came_before(lake: LakeHandle, tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(LOG.read_bytes()))
    del damaged[len(damaged) * 3 // 4 :]
    (tmp_path / "cut.log.gz").write_bytes(damaged)
    [result] = lake.ingest([tmp_path / "cut.log.gz"])
    assert result.status == "failed"
    assert "cut.log.gz" in (result.message or "")
    assert result.records > 1000
    assert meets(lake)


HOSTILE = {
    "binary": random.Random(8).randbytes(300_000),
    "empty": b"",
    "newlines": b"\n" * 1000,
    "invalid_utf8": b"2026-11-24 06:32:07.506 UTC [1] LOG:  caf\xe9 \xff\n" * 3,
    "nul": b"2026-11-24 06:32:07.506 UTC [1] LOG:  a\0b\n",
    "cut_record": LOG.read_bytes()[50_013:90_017],
    "noise_between": b"cp: cannot stat 'x'\n".join(LOG.read_bytes().splitlines(keepends=True)[:40]),
    "prefix_in_sql": b"2026-11-24 06:32:07.506 UTC [1] LOG:  statement: select '\n"
    b"\t2026-11-24 06:32:07.506 UTC [1] ERROR:  not an error\n\tERROR:  neither'\n",
    "csv_cut": (SAMPLES / "pg15-mixed" / "postgresql.csv").read_bytes()[30_000:90_000],
    "json_cut": (SAMPLES / "pg15-mixed" / "postgresql.json").read_bytes()[30_000:90_000],
    "mixed_formats": b"".join(LOG.read_bytes().splitlines(keepends=True)[:20])
    + (SAMPLES / "pg15-mixed" / "postgresql.json").read_bytes()[:5000],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_line_is_accounted_for(lake: LakeHandle, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.log").write_bytes(HOSTILE[name])
    age(tmp_path / "x.log")
    lake.ingest([tmp_path / "x.log"])
    data = HOSTILE[name]
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    rows, problems = lake.audit()
    assert problems == []
    assert rows["meets"].all()
    assert rows["lines"].sum() == lines


def test_log_text_inside_sql_is_no_record(lake: LakeHandle, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(HOSTILE["prefix_in_sql"])
    lake.ingest([tmp_path / "x.log"])
    assert lake.sql("select severity, count(*) from record group by 1").fetchall() == [("LOG", 1)]


def test_chunks_may_be_read_by_other_processes(lake: LakeHandle, whole: Contents) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        lake.ingest([LOG], executor=executor)
    assert same(lake, whole)
