"""PgBouncer's own log: every line is a record, and none of them passes for one of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

import pgtrace
from pgtrace import registry
from pgtrace.errors import TimeZoneError
from pgtrace.logformat import Reading

LOG = (Path(__file__).parent / "data" / "pgbouncer" / "1.18.log").read_bytes()
LINES = LOG.splitlines(keepends=True)
FORMAT = registry.log_formats()["pgbouncer"]
ASKED = Reading("auto")


def test_a_real_log_is_known_and_read_to_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "bouncer.log"
    log.write_bytes(LOG)
    lake = pgtrace.open(tmp_path / "lake")
    [result] = lake.ingest([log])
    assert (result.log_format, result.records, result.unparsed) == ("pgbouncer", len(LINES), 0)
    kinds = lake.sql("select distinct kind from record").fetchall()
    assert kinds == [("pgbouncer",)]
    events = dict(lake.sql("select event, count(*) from pgbouncer group by all").fetchall())
    assert events["stats"] == sum(b" LOG stats: " in line for line in LINES)
    assert events["login attempt"] == sum(b" login attempt: " in line for line in LINES)
    assert events["server connected"] == sum(b" new connection to server" in line for line in LINES)
    assert events["pooler error"] == sum(b" pooler error: " in line for line in LINES)


def test_its_warnings_are_no_errors_of_the_server(tmp_path: Path) -> None:
    log = tmp_path / "bouncer.log"
    log.write_bytes(LOG)
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest([log])
    assert lake.sql("select count(*) from record where severity = 'WARNING'").fetchall() != [(0,)]
    assert lake.sql("select count(*) from error").fetchall() == [(0,)]


def test_other_lines_are_kept() -> None:
    log = b"".join([*LINES[:5], b"Segmentation fault\n", b"\n", *LINES[5:]])
    parsed = FORMAT.read(log, Reading("pgbouncer"), 1)
    assert parsed.records.height == len(LINES)
    assert parsed.unparsed["line_no"].to_list() == [6, 7]


def test_a_log_of_before_1_9_has_no_zone_and_asks_for_one() -> None:
    old = LOG.replace(b" UTC [", b" ").replace(b"] ", b" ")
    with pytest.raises(TimeZoneError):
        FORMAT.sniff(old, ASKED)
    reading = FORMAT.sniff(old, Reading("auto", timezone="UTC"))
    assert reading is not None
    parsed = FORMAT.read(old, reading, 1)
    whole = FORMAT.read(LOG, Reading("pgbouncer"), 1)
    assert parsed.records.select("logged_at", "pid").equals(whole.records.select("logged_at", "pid"))


@pytest.mark.parametrize("name", ["stderr", "csvlog", "jsonlog"])
def test_other_formats_do_not_take_it(name: str) -> None:
    assert registry.log_formats()[name].sniff(LOG, ASKED) is None
