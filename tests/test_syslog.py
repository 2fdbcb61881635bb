"""What a syslog daemon wrote gives the records of the csvlog of the same server, and no line of the file is lost.

``data/syslog/corpus`` is a cut of a larger log. Each of the other folders is one run of a server, with the settings of
write_syslog that its name says, through a real rsyslog 8.2302 and syslog-ng 3.38 in several of their formats; most are
of one session, and all have lines of su.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from named_field_logs import DATA, lines_in
from polars.testing import assert_frame_equal

from pgtrace import syslogd
from pgtrace.api import LakeHandle
from pgtrace.envelope import last_whole
from pgtrace.errors import TimeZoneError, UnknownFormatError
from pgtrace.ingest.detect import detect
from pgtrace.logformat import Parsed, Reading
from pgtrace.registry import log_formats
from pgtrace.syslogd import unescaped

SYSLOG, CSVLOG = log_formats()["syslog"], log_formats()["csvlog"]
ASKED = Reading("auto", timezone="UTC")
FILES = {path.relative_to(DATA / "syslog").as_posix(): path.read_bytes() for path in DATA.glob("syslog/*/*.log")}
NAMES = sorted(FILES)
INNER = "%m [%p] %q%u@%d/%a "
OUTER = "user=%u,db=%d,app=%a,client=%h "
PREFIXES = {"corpus": INNER, "default": INNER, "no_split": INNER, "outer": OUTER, "no_numbers": OUTER}
#: the server says to syslog, and not to the csvlog, that the csvlog begins
NOT_IN_CSVLOG = "redirecting log output to logging collector process"
CARRIED = ["pid", "severity", "message", "detail", "hint", "internal_query", "context", "statement", "cursor_position"]
FROM_PREFIX = ["user_name", "database_name", "application_name"]
CORPUS = FILES["corpus/rsyslog.log"]
#: records of two processes into each other, and one that no UTF-8 is in
SMALL = b"".join(CORPUS.splitlines(keepends=True)[24:])
SU = b"Nov 24 06:27:04 localhost su[310]: (to postgres) root on none\n"


@pytest.fixture(autouse=True)
def _soon_after_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most daemons write no year, which is then that of the clock."""
    monkeypatch.setattr(syslogd, "_now", lambda: datetime(2026, 12, 1, tzinfo=UTC))


def reading_of(text: bytes, asked: Reading = ASKED) -> Reading:
    reading = SYSLOG.sniff(text, asked)
    assert reading is not None
    return reading


def read_all(text: bytes, reading: Reading, first_line: int = 1) -> Parsed:
    """Read ``text``; every line is in a record or unparsed. Lines of a record may have others between them."""
    parsed = SYSLOG.read(text, reading, first_line)
    assert parsed.records["line_count"].sum() + parsed.unparsed.height == lines_in(text)
    assert parsed.unparsed["line_no"].is_unique().all()
    return parsed


def read(text: bytes, asked: Reading = ASKED) -> Parsed:
    return read_all(text, reading_of(text, asked))


def csvlog_beside(name: str) -> pl.DataFrame:
    csv = (DATA / "syslog" / name).parent / "csvlog.csv"
    return CSVLOG.read(csv.read_bytes(), Reading("csvlog", columns=26), 1).records


def messages(text: bytes, asked: Reading = ASKED) -> list[str]:
    found: list[str] = read(text, asked).records["message"].to_list()
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if "repeated" not in name])
def test_it_holds_what_the_csvlog_holds(name: str) -> None:
    columns = CARRIED if name.startswith("plain") else [*CARRIED, *FROM_PREFIX]
    records = read(FILES[name]).records.filter(pl.col("message") != NOT_IN_CSVLOG)
    expected = csvlog_beside(name)
    expected = expected.filter(pl.col("pid").is_in(records["pid"].unique().implode()))
    records = records.with_columns(
        pl.lit(None, expected.schema[column]).alias(column) for column in columns if column not in records.columns
    )
    assert_frame_equal(records.sort("pid", "line_no").select(columns), expected.sort("pid", "line_no").select(columns))


@pytest.mark.parametrize("name", NAMES)
def test_the_prefix_is_found_behind_the_head(name: str) -> None:
    assert reading_of(FILES[name]) == Reading("syslog", PREFIXES.get(name.split("/")[0], ""), "UTC")


@pytest.mark.parametrize("name", [name for name in NAMES if "corpus" not in name])
def test_the_time_is_the_prefixs_or_else_the_syslogs(name: str) -> None:
    records = read(FILES[name]).records.join(csvlog_beside(name), on=["pid", "message", "statement"], nulls_equal=True)
    lag = (records["logged_at"] - records["logged_at_right"]).abs().max()
    assert isinstance(lag, timedelta)
    assert lag <= (timedelta(0) if "default" in name or "no_split" in name else timedelta(seconds=1))


@pytest.mark.parametrize("name", [name for name in NAMES if "corpus" not in name])
def test_lines_of_other_programs_are_kept_and_named(name: str) -> None:
    unparsed = read(FILES[name]).unparsed
    others = unparsed.filter(pl.col("reason") == "another program's line")["text"]
    assert others.str.contains(r"su(?:\[[0-9]+\]:| [0-9]+ )").all()
    assert others.len() == FILES[name].count(b" su[") + len(re.findall(rb" su [0-9]", FILES[name])) > 0
    counted = unparsed.filter(pl.col("reason") == "counts messages that the syslog left out")
    assert counted.height == unparsed.height - others.len() == (2 if name.startswith("repeated") else 0)


@pytest.mark.parametrize("name", NAMES)
def test_detection_takes_a_syslog_for_nothing_else(name: str) -> None:
    assert detect(FILES[name], name, "auto", None, "UTC").log_format == "syslog"
    assert detect(SMALL + FILES[name], name, "auto", None, "UTC").log_format == "syslog"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(DATA.rglob("*")) if path.is_file() and "syslog" not in path.parts and path.stat().st_size],
    ids=lambda path: path.relative_to(DATA).as_posix(),
)
def test_other_logs_are_no_syslog(path: Path) -> None:
    assert SYSLOG.sniff(path.read_bytes(), ASKED) is None


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"2026-11-24 06:26:58.804 UTC [1] LOG:  message is Nov 24 06:26:58 db postgres[1]: [1-1] LOG:  x\n",
        b"2026-11-24T06:26:58.804Z LOG:  a container's, with an empty prefix\n",
        b"2026-11-24T06:26:58.804Z [12] LOG:  and with the pid\n",
        b"2026-11-24T06:26:58.804Z stdout F 2026-11-24 06:26:58.804 UTC [1] LOG:  of Kubernetes: x\n",
        b"2026-11-24T06:26:58.804Z INFO: of another program\n",
    ],
)
def test_a_time_alone_makes_no_syslog(head: bytes) -> None:
    assert SYSLOG.sniff(head, ASKED) is None


HEADS = {
    "traditional": "Nov 24 06:26:58 db1 postgres[123]: {}",
    "day of one digit": "Nov  4 06:26:58 db1 postgres[123]: {}",
    "priority": "<134>Nov 24 06:26:58 db1 postgres[123]: {}",
    "journalctl -o short-precise": "Nov 24 06:26:58.804123 db1 postgres[123]: {}",
    "journalctl -o short-iso": "2026-11-24T06:26:58+0000 db1 postgres[123]: {}",
    "rsyslog": "2026-11-24T06:26:58.804123+00:00 db1 postgres[123]: {}",
    "busybox": "Nov 24 06:26:58 db1 local0.info postgres[123]: {}",
    "no host": "Nov 24 06:26:58 postgres[123]: {}",
    "IPv6 host": "Nov 24 06:26:58 fe80::1 postgres[123]: {}",
    "path": "Nov 24 06:26:58 db1 /usr/lib/postgresql/15/bin/postgres[123]: {}",
    "ident": "Nov 24 06:26:58 db1 pg-main_15.eu[123]: {}",
    "RFC 5424": "<134>1 2026-11-24T06:26:58.804Z db1 postgres 123 - - {}",
    "RFC 5424 with data": r'<134>1 2026-11-24T06:26:58Z db1 postgres 123 ID4 [a@1 b="\"]: - "][c] {}',
    "RFC 5424 with BOM": "<134>1 2026-11-24T06:26:58.804Z db1 postgres 123 - - \ufeff{}",
}
TEXTS = [
    "[7-1] {}LOG:  duration: 1.000 ms  statement: select 1 as a,",
    "[7-2] #011       'LOG:  [5-1] ] - x: y' as",
    "[7-3]  b",
    "[8-1] {}ERROR:  no such thing",
    "[8-2] {}STATEMENT:  select 2",
]


@pytest.mark.parametrize("prefix", ["", "[%p] ", "%m [%p] "])
@pytest.mark.parametrize("layout", HEADS)
def test_every_layout_of_the_head_is_read(layout: str, prefix: str) -> None:
    inner = prefix.replace("%m", "2026-11-24 06:26:58.804 UTC").replace("%p", "123")
    text = "".join(HEADS[layout].format(line.format(inner)) + "\n" for line in TEXTS).encode()
    mixed = [CORPUS + text] if prefix == "%m [%p] " else []
    for lines in (text, *mixed):
        records = read(lines, replace(ASKED, prefix=prefix if lines == text else INNER)).records.tail(2)
        assert records["message"].to_list() == [
            "duration: 1.000 ms  statement: select 1 as a,\n       'LOG:  [5-1] ] - x: y' as b",
            "no such thing",
        ]
        assert records["statement"].to_list() == [None, "select 2"]
        assert records["pid"].to_list() == [123, 123]
        day = 4 if layout == "day of one digit" and prefix != "%m [%p] " else 24
        times = {datetime(2026, 11, day, 6, 26, 58, microsecond, UTC) for microsecond in (0, 804_000, 804_123)}
        assert set(records["logged_at"].dt.replace(year=2026)) <= times


def test_a_process_that_is_not_named_has_no_pid() -> None:
    line = b"<134>1 2026-11-24T06:26:58.804Z db1 postgres - - - [7-1] LOG:  listening\n"
    assert read(line).records.select("pid", "message").rows() == [(None, "listening")]


def test_without_numbers_the_prefix_may_look_like_one() -> None:
    text = b"".join(b"Nov 24 06:26:58 db1 postgres[123]: [123] LOG:  line %d\n" % number for number in range(20))
    assert messages(text, replace(ASKED, prefix="[%p] ")) == [f"line {number}" for number in range(20)]


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("select 'a#011b#012#011c'", "select 'a\tb\n\tc'"),
        ("bell #007 escape #033[31m line end #015#012", "bell \x07 escape \x1b[31m line end \r\n"),
        ("colour #003366 or #333 or #00112233, escape #033", "colour #003366 or #333 or #00112233, escape \x1b"),
        ("issue #177, #300 and #342", "issue #177, #300 and #342"),
        ("#303#251#346#274#242#360#237#230#200", "é漢😀"),
        ("no UTF-8 #355#240#200", "no UTF-8 #355#240#200"),
        ("nothing", "nothing"),
    ],
)
def test_control_characters_are_restored(printed: str, text: str) -> None:
    assert unescaped(pl.Series([None, printed, "x"])).to_list() == [None, text, "x"]


def test_a_daemon_that_keeps_tabs_escapes_nothing() -> None:
    text = b"Nov 24 06:26:58 db1 postgres[1]: [1] LOG:  a\n\tb#011c\n"
    assert messages(text) == ["a\nb#011c"]


ZONELESS = FILES["outer/syslog-ng.log"]


def test_a_time_without_zone_needs_one() -> None:
    with pytest.raises(TimeZoneError, match="--timezone"):
        SYSLOG.sniff(ZONELESS, Reading("auto"))
    berlin = read(ZONELESS, replace(ASKED, timezone="Europe/Berlin")).records["logged_at"]
    assert_frame_equal(berlin.to_frame(), read(ZONELESS).records.select(pl.col("logged_at").dt.offset_by("-1h")))
    assert read(FILES["outer/rsyslog-iso.log"], Reading("auto")).records["logged_at"].null_count() == 0
    assert read(CORPUS, Reading("auto")).records["logged_at"].null_count() == 0


@pytest.mark.parametrize(
    ("days", "now", "dates"),
    [
        (["Nov 24"], "2026-11-24", ["2026-11-24"]),
        (["Nov 24"], "2026-11-23", ["2026-11-24"]),
        (["Nov 24"], "2026-03-01", ["2025-11-24"]),
        (["Dec 31", "Jan  1"], "2026-03-01", ["2025-12-31", "2026-01-01"]),
        (["Dec 31", "Jan  1", "Dec 31", "Jan  1"], "2026-01-01", ["2025-12-31", "2026-01-01"] * 2),
        (["Mar  1", "Nov 24"], "2026-06-01", ["2025-03-01", "2025-11-24"]),
        (["Feb 29"], "2026-06-01", ["2024-02-29"]),
        (["Foo 24", "Nov 24"], "2026-12-01", [None, "2026-11-24"]),
    ],
)
def test_the_year_is_the_newest_that_is_not_ahead(
    days: list[str], now: str, dates: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslogd, "_now", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
    stamps = pl.Series([f"<134>{day} 06:26:5{second}" for second, day in enumerate(days)])
    times = syslogd.stamp_times(stamps, "UTC")
    assert times.dt.strftime("%Y-%m-%d").to_list() == dates


def test_a_prefix_that_is_given_is_taken() -> None:
    assert reading_of(CORPUS, replace(ASKED, prefix="%m [%p] %q%u@%d/%a ")).prefix == "%m [%p] %q%u@%d/%a "
    with pytest.raises(UnknownFormatError, match=r"reads none of its lines.*'%m "):
        SYSLOG.sniff(CORPUS, replace(ASKED, prefix="%t "))


def test_a_file_that_begins_with_other_programs_is_read() -> None:
    reading = reading_of(SU * 300)
    assert reading == Reading("syslog", None, "UTC")
    parsed = read_all(SU * 300 + CORPUS, reading)
    assert_frame_equal(parsed.records.drop("line_no"), read(CORPUS).records.drop("line_no"))
    assert parsed.unparsed["reason"].to_list() == ["another program's line"] * 300


@pytest.mark.parametrize("language", ["de", "fr", "ja", "ru"])
def test_levels_in_another_language_are_read(language: str) -> None:
    stderr = (DATA / "languages" / f"{language}.log").read_bytes()
    expected = detect(stderr, language, "auto", None, None)
    lines = [line.replace("\t", "#011") for line in stderr.decode().splitlines()]
    heads = (f"Nov 24 06:27:04 db1 postgres[1]: [1-{2 if line.startswith('#011') else 1}] " for line in lines)
    text = "".join(head + line + "\n" for head, line in zip(heads, lines, strict=True)).encode()
    reading = reading_of(text)
    assert (reading.prefix, reading.language) == (expected.prefix, expected.language)
    records = log_formats()["stderr"].read(stderr, expected, 1).records
    assert_frame_equal(read_all(text, reading).records, records, check_column_order=False)


def test_windows_line_ends_are_no_part_of_a_record() -> None:
    text = CORPUS.replace(b"\n", b"\r\n")
    assert reading_of(text).line_end == b"\r\n"
    assert_frame_equal(read(text).records, read(CORPUS).records)


@pytest.mark.parametrize(
    "noise", [b"\0" * 300 + b"\n", b"\xff\xfe \n", b"\n\n", b"half a li", SU[:20] + b"\n", SU[20:]]
)
def test_records_around_damage_survive(noise: bytes) -> None:
    lines = SMALL.splitlines(keepends=True)
    expected = read(SMALL).records.drop("line_no")
    for at in (0, 3, len(lines)):
        end = b"" if at == len(lines) or noise.endswith(b"\n") else b"\n"
        text = b"".join([*lines[:at], noise + end, *lines[at:]])
        parsed = read_all(text, reading_of(CORPUS))
        assert_frame_equal(parsed.records.drop("line_no"), expected)
        assert parsed.unparsed.height == lines_in(noise + end)


def test_a_cut_costs_the_records_that_are_cut() -> None:
    """Lines of two processes are mixed, so a cut may go through a record of each."""
    reading = reading_of(CORPUS)
    whole = read_all(SMALL, reading).records.select("line_no", "message")
    for cut in range(0, len(SMALL) + 1, 37):
        first = read_all(SMALL[:cut], reading).records.select("line_no", "message")
        begun = whole.filter(pl.col("line_no") <= SMALL[:cut].count(b"\n") + 1).height
        assert begun - 1 <= first.height <= begun
        assert first.join(whole, on=["line_no", "message"], how="semi").height >= begun - 2
        second = read_all(SMALL[cut:], reading)
        after = whole.height - begun
        assert after <= second.records.height <= after + 1  # what is left of a line may look like a record
        assert second.records["message"].tail(after).to_list() == whole["message"].tail(after).to_list()
        reasons = set(second.unparsed["reason"])
        assert reasons <= {"goes on with a record that is not in the file", "does not begin with the log_line_prefix"}


@given(st.binary(max_size=80), st.integers(0, 9))
@settings(deadline=None, max_examples=25)
def test_no_bytes_make_it_fail(noise: bytes, at: int) -> None:
    lines = SMALL.splitlines(keepends=True)
    read_all(b"".join([*lines[:at], noise, *lines[at:]]), reading_of(CORPUS))


@pytest.mark.parametrize("name", NAMES)
def test_chunks_are_cut_where_no_record_is_on_both_sides(name: str) -> None:
    reading = reading_of(FILES[name])
    text = FILES[name] * (200_000 // len(FILES[name]) + 1)
    whole = read_all(text, reading).records
    for size in range(70_000, len(text), 27_919):
        cut = SYSLOG.last_record(text[:size], reading)
        assert size - 65_536 - 25_000 < cut <= size - 65_536
        first = read_all(text[:cut], reading).records
        second = read_all(text[cut:], reading, 1 + lines_in(text[:cut])).records
        assert_frame_equal(pl.concat([first, second], how="diagonal").select(whole.columns), whole)


def test_a_file_of_other_programs_is_cut_too() -> None:
    cut = SYSLOG.last_record(SU * 10_000, reading_of(SU))
    assert cut > len(SU) * 10_000 - 66_000


def test_pieces_that_come_later_belong_to_their_record(lake: LakeHandle, tmp_path: Path) -> None:
    lines = CORPUS.splitlines(keepends=True)
    path = tmp_path / "syslog"
    for end in (27, 28, 33, len(lines)):  # between the lines of two records
        path.write_bytes(b"".join(lines[:end]))
        lake.ingest([path])
    found = lake.sql("select line_no, message, statement from record order by all").pl()
    assert_frame_equal(found, read(CORPUS).records.select("line_no", "message", "statement"))
    assert lake.sql("select count(*) from unparsed").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("lines", "cut"),
    [
        ("A1 B1 A1", 2),
        ("A1 B1 A2", 0),
        ("A1 B1 A2 B1", 3),
        ("A1 B1 -- B2 C1", 4),
        ("A1 B1 -- --", 1),
        ("A2 B2", 0),
        ("A1 B2 A1 A2", 2),
    ],
)
def test_a_place_to_cut_is_one_that_all_owners_agree_on(lines: str, cut: int) -> None:
    """A1 begins a record of A, A2 goes on with it, -- goes on with the line before it."""
    text = lines.replace(" ", "\n").encode() + b"\n"

    def look(line: bytes) -> tuple[object, bool] | None:
        return None if line.startswith(b"-") else (line[:1], line[1:2] == b"1")

    assert last_whole(text, look) == cut * 3


def test_the_user_is_told_that_a_csvlog_beside_it_may_hold_the_same_events(tmp_path: Path) -> None:
    """Names do not tell whether both are of one server, so both are read."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "messages").write_bytes(CORPUS)
    [alone] = LakeHandle(tmp_path / "alone").ingest([logs], timezone="UTC")
    assert alone.message is None
    (logs / "postgresql.csv").write_bytes((DATA / "syslog" / "corpus" / "csvlog.csv").read_bytes())
    results = LakeHandle(tmp_path / "both").ingest([logs], timezone="UTC")
    assert {result.status for result in results} == {"read"}
    told = {result.log_format: result.message for result in results if result.message is not None}
    assert list(told) == ["syslog"]
    assert "twice" in (told["syslog"] or "")
