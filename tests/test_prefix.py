import re
import tomllib
from pathlib import Path

import polars as pl
import pytest
from elog import COLUMNS, Client, Event, Process, busy_server, columns, head
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.errors import UsageError
from pgtrace.prefix import FOLLOW_UPS, SEVERITIES, compile_prefix

DATA = Path(__file__).parent / "data"
REAL = tomllib.loads((DATA / "prefixes.toml").read_text())["real"]
NOW = 1795510661.303
BACKEND = Process(
    4711, 1795510000, "client backend", Client("app", "shop", "psql", "10.0.0.1", "5000"), "SELECT", "3/7", 9, 5
)
BACKGROUND = Process(4710, 1795510000, "autovacuum worker")


def in_polars(pattern: str, heads: list[str]) -> list[dict[str, str]]:
    """What Rust's regular expressions read; "" where a group took no part."""
    rows = pl.Series(heads, dtype=pl.String()).str.extract_groups(pattern).struct.unnest().to_dicts()
    return [{name: value or "" for name, value in row.items()} for row in rows]


def read(prefix: str, line_head: str) -> dict[str, str]:
    """A head as read by both patterns and both kinds of regular expression, which must agree."""
    compiled = compile_prefix(prefix)
    match = re.search(compiled.pattern, line_head)
    assert match is not None, f"{prefix!r} does not read {line_head!r}"
    row = {name: value or "" for name, value in match.groupdict().items()}
    assert in_polars(compiled.pattern, [line_head])[0] == row
    rest = in_polars(compiled.rest_pattern, [line_head[compiled.leading_width :]])[0]
    assert rest == {name: row[name] for name in rest}
    assert row.keys() - rest.keys() <= {"time", "epoch"}
    return row


def check(prefix: str, event: Event) -> None:
    row = read(prefix, head(prefix, event))
    said = columns(prefix, event)
    assert {name: row[name] for name in said} == said
    assert row["severity"] == event.severity


@pytest.mark.parametrize("pad", ["", "-", "0", "3", "-3", "30", "-30", "030"])
@pytest.mark.parametrize("escape", list("aurdhLbpPtmnsielcvxQ"))
@pytest.mark.parametrize(
    "event", list(busy_server())[:30:3], ids=lambda event: f"{event.process.backend_type}{event.line_no}"
)
def test_every_escape_reads_back_what_is_printed(escape: str, pad: str, event: Event) -> None:
    check(f"<%{pad}{escape}> [%p] ", event)


@pytest.mark.parametrize("severity", [*SEVERITIES, *FOLLOW_UPS])
def test_a_head_ends_with_a_level_or_a_follow_up(severity: str) -> None:
    check("%m [%p] %q%u@%d/%a ", Event(BACKEND, NOW, 1, severity))


@pytest.mark.parametrize("literal", [*"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~ \tä ", "%%", "<b> ", "\\d\\b"])
def test_literals_are_literal(literal: str) -> None:
    check(f"{literal}%p{literal}%q{literal}%u{literal} ", Event(BACKEND, NOW, 1))
    check(f"{literal}%p{literal}%q{literal}%u{literal} ", Event(BACKGROUND, NOW, 1))


@pytest.mark.parametrize(
    ("prefix", "width", "escape"),
    [
        ("%m [%p] ", 23, "m"),
        ("%t [%p] ", 19, "t"),
        ("%n ", 14, "n"),
        *((prefix, 0, None) for prefix in ("[%m] ", "%30m ", "%p %m ", "%q%m ", "%%m ", "")),
    ],
)
def test_a_time_of_fixed_width_is_cut_off_the_rest(prefix: str, width: int, escape: str | None) -> None:
    compiled = compile_prefix(prefix)
    assert (compiled.leading_width, compiled.leading_escape) == (width, escape)


@pytest.mark.parametrize("name", REAL)
def test_real_logs_are_read(name: str) -> None:
    """Blanks, empty fields and odd padding as PostgreSQL 15 printed them."""
    text = (DATA / "prefixes" / f"{name}.log").read_text()
    lines = [line for line in text.split("\n") if re.search(r"^[^\t].*?[A-Z]:  ", line)]
    assert len(lines) > 10
    for line in lines[1:]:
        row = read(REAL[name], line.split(":  ")[0])
        said = re.search(r"connection authorized: user=(.*) database=(.*) application_name", line)
        if said and "user_name" in row and "@" not in said[1]:  # who can tell a@b@c?
            assert (row["user_name"], row["database_name"]) == said.groups()
        said = re.search(r"connection received: host=(\S*)(?: port=(\d+))?", line)
        if said and "client_host" in row:
            assert (row["client_host"], row.get("client_port", said[2] or "")) == (said[1], said[2] or "")


@pytest.mark.parametrize(
    ("prefix", "line_head", "expected"),
    [
        # a parallel worker: it has a leader and no client
        (
            "%m [%p] %b %P %i %e ",
            "2026-11-24 14:23:46.911 IST [6334] parallel worker 6330  00000 LOG",
            {"backend_type": "parallel worker", "leader_pid": "6330", "command_tag": "", "sqlstate": "00000"},
        ),
        # a client that has not sent its startup packet
        (
            "%m [%p] %b %P %i %e ",
            "2026-11-24 14:23:46.837 IST [6318] not initialized   00000 LOG",
            {"backend_type": "not initialized", "leader_pid": "", "command_tag": ""},
        ),
        ("%t:%r:%u@%d:[%p]:", "2026-11-24 14:23:46 IST::@:[12]:LOG", {"client_host": "", "user_name": "", "pid": "12"}),
        (
            "%t:%r:%u@%d:[%p]:",
            "2026-11-24 14:23:46 UTC:fe80::1%eth0(5000):app@shop:[12]:LOG",
            {"client_host": "fe80::1%eth0", "client_port": "5000", "user_name": "app"},
        ),
        ("%m %h:%u ", "2026-11-24 14:23:46.001 UTC ::1:app LOG", {"client_host": "::1", "user_name": "app"}),
        ("%m [%p] %q%u@%d/%a ", "2026-11-24 14:23:46.001 +0545 [7] LOG", {"zone": "+0545", "user_name": ""}),
        (
            "%m [%p] %q%a ",
            "2026-11-24 14:23:46.001 UTC [7] a LOG LOG",
            {"application_name": "a LOG", "severity": "LOG"},
        ),
        ("%i|%u ", "idle in transaction (aborted)|a|b LOG", {"command_tag": "idle in transaction (aborted)"}),
        ("%b %u ", "client backend my user ERROR", {"backend_type": "client backend", "user_name": "my user"}),
        ("%b %u ", "pg_some worker LOG", {"backend_type": "pg_some", "user_name": "worker"}),
        ("%p %L ", "12 [none] LOG", {"pid": "12"}),  # version 18, no client
        ("[%Q] %p ", "[] 12 LOG", {"query_id": "", "pid": "12"}),  # before version 14 %Q prints nothing
        ("%h %r ", "10.0.0.1 10.0.0.1(5000) LOG", {"client_host": "10.0.0.1", "client_port": "5000"}),
        ("%q%u", "LOG", {"user_name": ""}),
    ],
)
def test_heads_that_are_easily_misread(prefix: str, line_head: str, expected: dict[str, str]) -> None:
    row = read(prefix, line_head)
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    "line_head",
    [
        "",
        "LOG",
        "2026-11-24 14:23:46 UTC [1] LOG",
        "2026-11-24 14:23:46.001 UTC [1] LOG ",
        "2026-11-24 14:23:46.001 UTC [x] LOG",
    ],
)
def test_other_heads_are_not_read(line_head: str) -> None:
    compiled = compile_prefix("%m [%p] ")
    assert re.search(compiled.pattern, line_head) is None
    assert not pl.Series([line_head]).str.contains(compiled.pattern).item()


@pytest.mark.parametrize(("prefix", "named"), [("%m %z ", "%z"), ("%m %", "%"), ("%m %5% ", "%5%"), ("%- %p", "%- ")])
def test_an_unknown_escape_is_named(prefix: str, named: str) -> None:
    with pytest.raises(
        UsageError, match=rf"{re.escape(repr(prefix))}: {re.escape(named)} is not an escape .* leave it out"
    ):
        compile_prefix(prefix)


# ---- any prefix whose fields are kept apart reads back

SEPARATORS = st.sampled_from(["|", ";", " | ", "><", "~~", " #", "%%|", ")("])
NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="|;><~#%()"), min_size=1, max_size=12
)
ESCAPE = st.sampled_from([*COLUMNS, "r", "t", "m", "n", "s"])
PAD = st.sampled_from(["", "", "", "4", "-4", "12", "-12", "40", "-40"])
PROCESS = st.builds(
    Process,
    pid=st.integers(1, 2**22),
    started=st.integers(1_600_000_000, 1_900_000_000),
    backend_type=st.sampled_from(["client backend", "checkpointer", "pg_cron launcher", "my worker"]),
    client=st.none()
    | st.builds(
        Client,
        user=st.just("") | NAME,
        database=st.just("") | NAME,
        application=st.just("") | NAME,
        host=st.sampled_from(["[local]", "10.0.0.1", "::1", "2001:db8::17", "db1.example.org"]),
        port=st.sampled_from(["", "5432"]),
    ),
    command=st.sampled_from(["", "idle", "SELECT", "idle in transaction", "CREATE TABLE AS", "UPDATE waiting", "odd"]),
    vxid=st.sampled_from(["", "3/71", "12/0"]),
    xid=st.integers(0, 2**32 - 1),
    query_id=st.integers(-(2**63), 2**63 - 1),
    leader=st.sampled_from(["", "6330"]),
)  # fmt: skip
EVENT = st.builds(
    Event,
    process=PROCESS,
    at=st.integers(1_600_000_000_000, 1_900_000_000_000).map(lambda ms: ms / 1000),
    line_no=st.integers(1, 10**6),
    severity=st.sampled_from([*SEVERITIES, *FOLLOW_UPS]),
    sqlstate=st.sampled_from(["00000", "42P01", "XX000"]),
)


@given(
    separator=SEPARATORS,
    escapes=st.lists(st.tuples(PAD, ESCAPE), min_size=1, max_size=8),
    stop=st.integers(0, 9),
    event=EVENT,
)
def test_any_prefix_with_separators_reads_back(
    separator: str, escapes: list[tuple[str, str]], stop: int, event: Event
) -> None:
    parts = [f"%{pad}{escape}{separator}" for pad, escape in escapes]
    parts.insert(stop, "%q")
    check("".join(parts), event)
