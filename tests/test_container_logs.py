"""Logs of containers and clouds give the records that the csvlog of the same server gives, and lose no line.

``data/containers/records.csv`` is cut from a real csvlog. Each folder beside it has the same records as they arrive in
one of these formats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from conftest import SAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pgtrace.errors import TimeZoneError, UnknownFormatError
from pgtrace.ingest.detect import detect
from pgtrace.logformat import LogFormat, Parsed, Reading
from pgtrace.recordframe import RECORD_SCHEMA
from pgtrace.registry import log_formats

DATA = Path(__file__).parent / "data" / "containers"
FORMATS = log_formats()
ASKED = Reading("auto")
EXPECTED = FORMATS["csvlog"].read((DATA / "records.csv").read_bytes(), Reading("csvlog", columns=26), 1).records
PLACE = ["line_no", "line_count"]
#: what the prefix '%m [%p] %q%u@%d/%a ' of the records says
PREFIX = "%m [%p] %q%u@%d/%a "
TEXTS = {
    "logged_at", "severity", "message", "detail", "hint", "internal_query", "internal_position", "context",
    "statement", "cursor_position", "location",
}  # fmt: skip
IN_PREFIX = TEXTS | {"pid", "user_name", "database_name", "application_name"}
CLOUDSQL = TEXTS | {"pid", "user_name", "database_name", "session_line_no"}
RDS = (TEXTS - {"logged_at"}) | {"pid", "user_name", "database_name", "client_host", "client_port"}
HEROKU = IN_PREFIX | {"sqlstate", "session_id", "session_started_at", "session_line_no", "vxid", "xid"}
AZURE = TEXTS | {"pid", "session_id", "session_started_at"}


@dataclass(frozen=True)
class Case:
    """A file, the columns it carries, how many of its lines are no record, and how many processes write at once."""

    path: str
    columns: set[str]
    unparsed: int = 0
    mixed: int = 1
    says_zone: bool = True

    @property
    def log_format(self) -> LogFormat:
        return FORMATS[self.path.split("/")[0]]

    @property
    def text(self) -> bytes:
        return (DATA / self.path).read_bytes()

    @property
    def reading(self) -> Reading:
        found = self.log_format.sniff(self.text, ASKED)
        assert found is not None
        return found


CASES = [
    Case("docker/container-json.log", IN_PREFIX, unparsed=2),
    Case("cri/0.log", IN_PREFIX, unparsed=2),
    Case("journald/stderr.json", IN_PREFIX, unparsed=2, mixed=2),
    Case("journald/syslog.json", IN_PREFIX | {"client_host"}, unparsed=1, mixed=2, says_zone=False),
    Case("cloudnativepg/pod.json", set(EXPECTED.columns) - set(PLACE), unparsed=3),
    Case("cloudsql/sink.json", CLOUDSQL, unparsed=1),
    Case("azure/PT1H.json", AZURE | {"sqlstate", "backend_type"}, unparsed=1),
    Case("azure/event-hub.json", AZURE | {"sqlstate", "backend_type"}, unparsed=1),
    Case("azure/single-server.json", {"logged_at", "severity", "pid", "session_id", "session_started_at", "detail"}),
    Case("cloudwatch/export.txt", RDS),
    Case("cloudwatch/lines.json", RDS),
    Case("heroku/short.log", (TEXTS - {"logged_at"}) | {"pid", "sqlstate"}, unparsed=1, mixed=2, says_zone=False),
    Case("heroku/long.log", HEROKU, unparsed=1, mixed=2),
]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)


def lines_in(text: bytes) -> int:
    return text.count(b"\n") + (text != b"" and not text.endswith(b"\n"))


def read(log_format: LogFormat, text: bytes, reading: Reading, first_line: int = 1) -> Parsed:
    """Read ``text``; every line must be counted once."""
    parsed = log_format.read(text, reading, first_line)
    numbers = parsed.unparsed["line_no"]
    assert parsed.records["line_count"].sum() + numbers.len() == lines_in(text)
    assert numbers.n_unique() == numbers.len()
    assert parsed.unparsed["reason"].null_count() == 0
    missing = [pl.lit(None, dtype).alias(n) for n, dtype in RECORD_SCHEMA.items() if n not in parsed.records.columns]
    return Parsed(parsed.records.with_columns(missing).select(*RECORD_SCHEMA), parsed.unparsed)


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert_frame_equal(found.drop(PLACE), expected.drop(PLACE))


@by_case
def test_it_holds_what_the_csvlog_holds(case: Case) -> None:
    parsed = read(case.log_format, case.text, case.reading)
    columns = sorted(case.columns)
    assert_frame_equal(parsed.records.select(columns), EXPECTED.select(columns))
    assert parsed.unparsed.height == case.unparsed


@by_case
def test_it_is_detected(case: Case) -> None:
    assert detect(case.text, case.path, "auto", None, None) == case.reading
    assert case.reading.log_format == case.log_format.name


@by_case
def test_chunks_are_cut_between_records(case: Case) -> None:
    # where processes are mixed, what is near the end may yet go on and is not divided
    reading, text, step = (case.reading, case.text, 203) if case.mixed == 1 else (case.reading, case.text * 8, 5003)
    whole = read(case.log_format, text, reading)
    cuts = {case.log_format.last_record(text[:size], reading) for size in range(1, len(text) + 1, step)} - {0}
    assert len(cuts) > 10
    for cut in cuts:
        first = read(case.log_format, text[:cut], reading)
        second = read(case.log_format, text[cut:], reading, 1 + lines_in(text[:cut]))
        assert_frame_equal(pl.concat([first.records, second.records]), whole.records)
        left = pl.concat([first.unparsed, second.unparsed])
        assert left["line_no"].to_list() == whole.unparsed["line_no"].to_list()


NOISE = [
    pytest.param(b"cp: cannot stat '/archive/00000002.history': No such file or directory\n", 1, id="stderr noise"),
    pytest.param(b"\n\n", 2, id="blank lines"),
    pytest.param(b'[1]\n{}\nnull\n{"log":\n', 4, id="other JSON"),
    pytest.param(b"\0" * 512 + b"\n", 1, id="NUL bytes"),
    pytest.param(b'{"log":"\\x","message":"\\x"}\n{"log":"\x01"}\n', 2, id="broken escapes"),
    pytest.param(b"\xff\xfe{\n", 1, id="no UTF-8"),
]


@by_case
@pytest.mark.parametrize(("noise", "count"), NOISE)
def test_records_around_damage_survive(case: Case, noise: bytes, count: int) -> None:
    reading, lines = case.reading, case.text.splitlines(keepends=True)
    whole = read(case.log_format, case.text, reading)
    for before in range(0, len(lines) + 1, 11):
        parsed = read(case.log_format, b"".join([*lines[:before], noise, *lines[before:]]), reading)
        assert_same(parsed.records, whole.records)
        assert parsed.unparsed.height == whole.unparsed.height + count
        assert set(range(before + 1, before + 1 + count)) <= set(parsed.unparsed["line_no"])


@by_case
def test_a_cut_costs_the_record_that_is_cut(case: Case) -> None:
    reading, text = case.reading, case.text
    whole = read(case.log_format, text, reading).records
    for cut in range(1, len(text), 607):
        head = read(case.log_format, text[:cut], reading).records
        done = max(head.height - case.mixed, 0)
        assert_same(head.head(done), whole.head(done))
        tail = read(case.log_format, text[cut:], reading).records
        assert whole.height - head.height - case.mixed <= tail.height <= whole.height - done


@by_case
@given(st.binary(max_size=60), st.integers(0, 100))
@settings(deadline=None, max_examples=8)
def test_no_bytes_make_it_fail(case: Case, noise: bytes, at: int) -> None:
    lines = case.text.splitlines(keepends=True)
    read(case.log_format, b"".join([*lines[:at], noise, *lines[at:]]), case.reading)


@by_case
def test_nul_bytes_of_a_crash_cost_no_record(case: Case) -> None:
    lines = case.text.splitlines(keepends=True)
    text = b"".join([lines[0], b"\0" * 4096, *lines[1:]])
    assert_same(
        read(case.log_format, text, case.reading).records, read(case.log_format, case.text, case.reading).records
    )


@pytest.mark.parametrize("case", [case for case in CASES if case.says_zone], ids=lambda case: case.path)
def test_a_zone_that_needs_an_option_shows_at_once(case: Case) -> None:
    text = case.text.replace(b" UTC", b" CET").replace(b"32,85,84,67", b"32,67,69,84")
    with pytest.raises(TimeZoneError, match=r"'CET'.*--timezone"):
        case.log_format.sniff(text, ASKED)
    reading = case.log_format.sniff(text, replace(ASKED, timezone="Europe/Berlin"))
    assert reading is not None
    times = read(case.log_format, text, reading).records["logged_at"]
    expected = read(case.log_format, case.text, case.reading).records["logged_at"]
    assert times.to_list() == expected.dt.offset_by("-1h").to_list()


#: these take what stands before the server's lines for a part of log_line_prefix
ASKED_LAST = ("cloudwatch", "syslog", "stderr")


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*")), ids=lambda path: path.name)
def test_only_its_own_format_knows_a_file(path: Path) -> None:
    head = path.read_bytes()
    assert detect(head, path.name, "auto", None, None).log_format == path.parent.name
    for name, log_format in FORMATS.items():
        if name not in (path.parent.name, *ASKED_LAST):
            assert log_format.sniff(head, ASKED) is None, name


FOREIGN = {
    "stderr": SAMPLES / "pg15-mixed" / "postgresql.log",
    "csvlog": SAMPLES / "pg15-mixed" / "postgresql.csv",
    "jsonlog": SAMPLES / "pg15-mixed" / "postgresql.json",
}
OWN = sorted({case.path.split("/")[0] for case in CASES})


@pytest.mark.parametrize("name", OWN)
def test_other_logs_are_not_taken(name: str) -> None:
    for path in FOREIGN.values():
        assert FORMATS[name].sniff(path.read_bytes()[: 256 * 1024], ASKED) is None
    for text in (
        b"",
        b"\n",
        b"{}\n",
        b"\xff\n",
        b'{"log":1,"stream":2,"time":3}\n',
        b'{"record":"x"}\n{"records":1}\n',
    ):
        assert FORMATS[name].sniff(text, ASKED) is None


# --- docker and cri -------------------------------------------------------------------------------------------------

STDERR = [
    '2026-11-24 06:32:13.577 UTC [1201] app@shop/x ERROR:  relation "nowhere" does not exist at character 15',
    "2026-11-24 06:32:13.577 UTC [1201] app@shop/x STATEMENT:  select * from nowhere",
    "\twhere\ta = 1",
    "\t\tand b = 2",
    "2026-11-24 06:32:13.578 UTC [1201] app@shop/x LOG:  duration: 0.257 ms  statement: SELECT 1",
]
STATEMENT = "select * from nowhere\nwhere\ta = 1\n\tand b = 2"


def docker(*logs: str, stream: str = "stderr") -> bytes:
    entries = [{"log": log, "stream": stream, "time": "2026-11-24T06:32:13.577123456Z"} for log in logs]
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def cri(*pieces: tuple[str, str], stream: str = "stderr") -> bytes:
    return "".join(f"2026-11-24T07:32:13.577123456+01:00 {stream} {tag} {text}\n" for tag, text in pieces).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 200])
def test_a_line_in_pieces_is_one_line(size: int) -> None:
    for name in ("docker", "cri"):
        text, other = b"", b""
        for line in STDERR:
            pieces = [line[at : at + size] for at in range(0, len(line), size)]
            if name == "docker":
                text += b"".join(docker(piece) + docker("noise\n", stream="stdout") for piece in pieces[:-1])
                text += docker(pieces[-1] + "\n")
            else:
                text += b"".join(cri(("P", piece)) + cri(("F", "noise"), stream="stdout") for piece in pieces[:-1])
                text += cri(("F", pieces[-1]))
        other = text if size == 200 else text[: text.rfind(b"\n", 0, -1) + 1]
        records = read(FORMATS[name], other, Reading(name, prefix=PREFIX)).records
        assert records["statement"][0] == STATEMENT
        assert records["cursor_position"][0] == 15


def test_a_container_says_the_time_where_the_prefix_does_not() -> None:
    lines = [
        line.replace("2026-11-24 06:32:13.577 UTC ", "").replace("2026-11-24 06:32:13.578 UTC ", "") for line in STDERR
    ]
    for name, text in {
        "docker": docker(*(line + "\n" for line in lines)),
        "cri": cri(*(("F", line) for line in lines)),
    }.items():
        reading = FORMATS[name].sniff(text, ASKED)
        assert reading is not None
        records = read(FORMATS[name], text, reading).records
        assert [str(time) for time in records["logged_at"]] == ["2026-11-24 06:32:13.577123+00:00"] * 2
        assert records["pid"].to_list() == [1201, 1201]


def test_a_prefix_that_says_no_process_is_refused() -> None:
    lines = ["2026-11-24 06:32:13.577 UTC app LOG:  checkpoint starting: time\n"] * 3
    with pytest.raises(UnknownFormatError, match="no process id"):
        FORMATS["docker"].sniff(docker(*lines), replace(ASKED, prefix="%m %u "))


def test_a_prefix_that_reads_nothing_is_refused_with_one_that_does() -> None:
    with pytest.raises(UnknownFormatError, match=r"reads none .*--prefix '%m \[%p\]"):
        FORMATS["docker"].sniff(docker(*(line + "\n" for line in STDERR)), replace(ASKED, prefix="%p: "))


def test_a_container_of_another_program_is_none() -> None:
    lines = ["ERROR:  something\n", "INFO starting\n", "LOG:  x\n"]
    assert FORMATS["docker"].sniff(docker(*lines), ASKED) is None
    assert FORMATS["cri"].sniff(cri(*(("F", line.strip()) for line in lines)), ASKED) is None


# --- cloudnativepg --------------------------------------------------------------------------------------------------


def test_a_record_of_pgaudit_gets_its_message_back() -> None:
    audit = {
        "audit_type": "SESSION", "statement_id": "33", "substatement_id": "1", "class": "READ", "command": "SELECT",
        "statement": 'SELECT "a", b\nFROM t', "parameter": "<not logged>",
    }  # fmt: skip
    record = {
        "log_time": "2026-11-24 06:32:13.577 UTC", "user_name": "app", "process_id": "203",
        "connection_from": "[local]", "session_start_time": "2026-11-24 06:32:10 UTC", "error_severity": "LOG",
        "sql_state_code": "00000",
        "backend_type": "client backend", "audit": audit,
    }  # fmt: skip
    line = {"level": "info", "ts": 1795501933.577, "logger": "pgaudit", "msg": "record", "record": record}
    text = json.dumps(line).encode() + b"\n"
    reading = FORMATS["cloudnativepg"].sniff(text, ASKED)
    assert reading is not None
    records = read(FORMATS["cloudnativepg"], text, reading).records
    assert records["message"].to_list() == ['AUDIT: SESSION,33,1,READ,SELECT,,,"SELECT ""a"", b\nFROM t",<not logged>']
    assert records["client_host"].to_list() == ["[local]"]


def test_what_the_instance_manager_says_is_no_record() -> None:
    case = next(case for case in CASES if case.path.startswith("cloudnativepg/"))
    reasons = read(case.log_format, case.text, case.reading).unparsed["reason"].unique().to_list()
    assert reasons == ["CloudNativePG's instance manager says this"]


# --- cloudsql -------------------------------------------------------------------------------------------------------

ARRAY = (DATA / "cloudsql" / "gcloud.json").read_bytes()
CLOUD = FORMATS["cloudsql"]


def test_an_array_as_gcloud_prints_it_is_read() -> None:
    reading = CLOUD.sniff(ARRAY, ASKED)
    assert reading is not None
    parsed = read(CLOUD, ARRAY, reading)
    assert parsed.unparsed["text"].to_list() == ["[", "]"]
    assert_frame_equal(parsed.records.select(sorted(CLOUDSQL)), EXPECTED.head(16).select(sorted(CLOUDSQL)))
    cuts = {CLOUD.last_record(ARRAY[:size], reading) for size in range(1, len(ARRAY) + 1, 101)} - {0}
    assert len(cuts) > 10
    for cut in cuts:
        first = read(CLOUD, ARRAY[:cut], reading)
        second = read(CLOUD, ARRAY[cut:], reading, 1 + lines_in(ARRAY[:cut]))
        assert_frame_equal(pl.concat([first.records, second.records]), parsed.records)


def test_a_cut_array_costs_the_entry_that_is_cut() -> None:
    reading = CLOUD.sniff(ARRAY, ASKED)
    assert reading is not None
    for cut in range(1, len(ARRAY), 307):
        head, tail = read(CLOUD, ARRAY[:cut], reading).records, read(CLOUD, ARRAY[cut:], reading).records
        assert head.height + tail.height in (15, 16)


def test_entries_that_are_newest_first_are_refused() -> None:
    lines = (DATA / "cloudsql" / "sink.json").read_bytes().splitlines(keepends=True)
    with pytest.raises(UnknownFormatError, match="--order=asc"):
        CLOUD.sniff(b"".join(reversed(lines)), ASKED)


# --- azure ----------------------------------------------------------------------------------------------------------


def test_a_list_of_one_record_is_that_record() -> None:
    azure = FORMATS["azure"]
    alone, listed = ((DATA / "azure" / name).read_bytes() for name in ("PT1H.json", "event-hub.json"))
    reading = azure.sniff(listed, ASKED)
    assert reading is not None
    assert_frame_equal(read(azure, listed, reading).records, read(azure, alone, reading).records)


def test_a_line_of_several_records_is_refused_with_what_to_do() -> None:
    azure = FORMATS["azure"]
    events = [json.loads(line) for line in (DATA / "azure" / "PT1H.json").read_text().splitlines()]
    text = json.dumps({"records": events}).encode() + b"\n"
    with pytest.raises(UnknownFormatError, match=r"jq -c '\.records\[\]'"):
        azure.sniff(text, ASKED)
    assert read(azure, text, Reading("azure", prefix="%t-%c-")).unparsed["reason"].str.contains("jq -c").all()


def test_a_single_servers_message_cannot_pass_for_records() -> None:
    line = json.loads((DATA / "azure" / "single-server.json").read_text().splitlines()[0])
    line["properties"]["message"] = (
        f"statement: select '\n\t{line['properties']['prefix']}LOG:  x\n{line['properties']['prefix']}LOG:  x'"
    )
    records = read(FORMATS["azure"], json.dumps(line).encode() + b"\n", Reading("azure", prefix="%m-%c-")).records
    assert records["message"].to_list() == [line["properties"]["message"]]


# --- RDS, Aurora and CloudWatch -------------------------------------------------------------------------------------

CLOUDWATCH = FORMATS["cloudwatch"]


def test_a_file_that_rds_keeps_is_a_stderr_log() -> None:
    text = (DATA / "stderr" / "postgresql.log.2026-11-24-06").read_bytes()
    reading = detect(text, "postgresql.log.2026-11-24-06", "auto", None, None)
    assert (reading.log_format, reading.prefix) == ("stderr", "%t:%r:%u@%d:[%p]:")
    parsed = read(FORMATS["stderr"], text, reading)
    assert parsed.unparsed.is_empty()
    assert_frame_equal(parsed.records.select(sorted(RDS)), EXPECTED.select(sorted(RDS)))


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-11-24T06:32:13",  # aws logs tail --format short
        "2026-11-24T06:32:13.577000+00:00 shop-db.0",  # aws logs tail
        "2026-11-24T06:32:13.577123456Z",  # docker logs -t, kubectl logs --timestamps
    ],
)
def test_a_time_before_each_line_is_taken_off(stamp: str) -> None:
    text = "".join(f"{stamp} {line}\n" for line in STDERR).encode()
    reading = detect(text, "a", "auto", None, None)
    assert (reading.log_format, reading.prefix) == ("cloudwatch", PREFIX)
    records = read(CLOUDWATCH, text, reading).records
    assert records["statement"].to_list() == [STATEMENT, None]


def test_a_time_before_each_line_stands_in_for_the_servers() -> None:
    lines = [
        line.replace(".577 UTC", "").replace(".578 UTC", "").replace("2026-11-24 06:32:13 ", "") for line in STDERR
    ]
    text = "".join(f"2026-11-24T06:32:13.577Z {line}\n" for line in lines).encode()
    event = {"timestamp": 1795501933577, "message": "\n".join(lines)}
    for source in (text, json.dumps(event).encode() + b"\n"):
        reading = CLOUDWATCH.sniff(source, ASKED)
        assert reading is not None
        times = read(CLOUDWATCH, source, reading).records["logged_at"]
        assert [str(time) for time in times] == ["2026-11-24 06:32:13.577000+00:00"] * 2


def test_events_that_are_not_a_line_each_are_refused_with_what_to_do() -> None:
    events = [json.loads(line) for line in (DATA / "cloudwatch" / "lines.json").read_text().splitlines()]
    for indent in (None, 4):
        with pytest.raises(UnknownFormatError, match="jq -c"):
            CLOUDWATCH.sniff(json.dumps({"events": events}, indent=indent).encode(), ASKED)


# --- journald -------------------------------------------------------------------------------------------------------


def journal(message: str | list[int] | None, pid: int = 1201, **more: str) -> bytes:
    entry = {"__REALTIME_TIMESTAMP": "1795501933577123", "_PID": str(pid), "SYSLOG_IDENTIFIER": "postgres", **more}
    return json.dumps({**entry, "MESSAGE": message}).encode() + b"\n"


def test_what_the_journal_says_of_an_unread_line_is_its_reason() -> None:
    text = b"".join(
        [
            *(journal(line, _TRANSPORT="stdout") for line in STDERR),
            journal(None, _TRANSPORT="stdout"),
            journal("Started Session 42.", pid=1, SYSLOG_IDENTIFIER="systemd"),
            b"-- No entries --\n",
        ]
    )
    journald = FORMATS["journald"]
    reading = journald.sniff(text, ASKED)
    assert reading is not None
    reasons = read(journald, text, reading).unparsed["reason"].to_list()
    assert [reason.split(":")[0] for reason in reasons] == [
        "a long message that journalctl left out", "another program's line", "no whole JSON object"
    ]  # fmt: skip


def test_a_blank_line_of_a_message_sent_to_syslog_is_kept() -> None:
    head = "user=app,db=shop,app=x,client=::1 "
    pieces = [f"[5-1] {head}LOG:  statement: select 1", "[5-2]", "[5-3] \tfrom a very", "[5-4]  long table"]
    journald = FORMATS["journald"]
    text = b"".join(journal(piece, _TRANSPORT="syslog") + journal("noise", pid=9) for piece in pieces)
    records = read(journald, text, Reading("journald", prefix="user=%u,db=%d,app=%a,client=%h ")).records
    assert records["message"].to_list() == ["statement: select 1\n\nfrom a very long table"]
    assert records["pid"].to_list() == [1201]
    assert [str(time) for time in records["logged_at"]] == ["2026-11-24 06:32:13.577123+00:00"]
