import re
import tomllib
from pathlib import Path

import pytest
from elog import Client, Event, Process, busy_server, columns, head

from pgtrace.prefix import compile_prefix
from pgtrace.prefix_detection import KNOWN_PREFIXES, detect_prefix, match_share

DATA = Path(__file__).parent / "data"
PREFIXES = tomllib.loads((DATA / "prefixes.toml").read_text())
REAL = PREFIXES["real"]
EVENTS = list(busy_server())
PLAIN = [event for event in EVENTS if event.process.client is None or event.process.client.user in ("", "app")]
BACKGROUND = [event for event in EVENTS if event.process.client is None]


def log(prefix: str, events: list[Event] = EVENTS, zone: str = "UTC") -> str:
    return "".join(f"{head(prefix, event, zone)}:  {event.text}\n" for event in events)


def read(prefix: str, line_head: str) -> dict[str, str]:
    """What a prefix reads in a head; what a process without a session does not print is ""."""
    match = re.search(compile_prefix(prefix).pattern, line_head)
    assert match is not None, f"{prefix!r} does not read {line_head!r}"
    return {name: value or "" for name, value in match.groupdict().items()}


def check(prefix: str, events: list[Event], zone: str = "UTC") -> None:
    detected = detect_prefix(log(prefix, events, zone))
    assert detected is not None
    assert match_share(detected, log(prefix, events, zone)) == 1
    for event in events:
        row = read(detected, head(prefix, event, zone))
        said = columns(prefix, event)
        assert {name: row.get(name) for name in said} == said, f"{detected!r} for {prefix!r}"


@pytest.mark.parametrize("prefix", [*PREFIXES["in_use"]["prefixes"], *PREFIXES["unheard_of"]["prefixes"]])
def test_what_a_server_wrote_tells_its_prefix(prefix: str) -> None:
    """Every field is read with the value that the server printed."""
    check(prefix, EVENTS)


@pytest.mark.parametrize("prefix", PREFIXES["plain_names"]["prefixes"])
def test_blanks_and_dashes_separate_where_names_hold_none(prefix: str) -> None:
    check(prefix, PLAIN)


@pytest.mark.parametrize("zone", ["IST", "-03"])
@pytest.mark.parametrize("prefix", ["%t-%c-", "%m [%p] %q%u@%d/%a ", "%m;%p;%u;%d;%a;"])
def test_any_zone_is_a_zone(prefix: str, zone: str) -> None:
    check(prefix, EVENTS, zone)


@pytest.mark.parametrize("name", [name for name in REAL if name != "pg15_pads2"])
def test_real_logs_tell_their_prefix(name: str) -> None:
    """All but what no line of the log shows: here, the leader of a parallel worker."""
    text = (DATA / "prefixes" / f"{name}.log").read_text()
    detected = detect_prefix(text)
    assert detected is not None
    assert match_share(detected, text) == 1
    heads = [
        found[1]
        for found in re.finditer(r"(?m)^(?!\t)(.*?(?:LOG|ERROR|FATAL|STATEMENT|LOCATION|HINT|DETAIL)):  ", text)
    ]
    assert len(heads) > 10
    for line_head in heads:
        row = read(detected, line_head)
        said = {field: value for field, value in read(REAL[name], line_head).items() if field != "leader_pid"}
        assert {field: row.get(field) for field in said} == said, detected


@pytest.mark.parametrize("prefix", KNOWN_PREFIXES)
def test_every_known_prefix_compiles_and_is_listed_once(prefix: str) -> None:
    assert compile_prefix(prefix).text == prefix
    assert KNOWN_PREFIXES.count(prefix) == 1


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("%m [%p] %q%u@%d/%a ", "%m [%p] "),
        ("%t [%p]: [%l-1] %quser=%u ", "%t [%p]: [%l-1] "),
        ("%n|%p|%q%d|%u|", "%n|%p|"),
        ("%t:%r:%u@%d:[%p]:", "%t:%r:%u@%d:[%p]:"),
        ("%m [%p]: [%l-1] db=%d,user=%u ", "%m [%p]: [%l-1] db=%d,user=%u "),
        ("%m;%p;user=%u;", "%m;%p;user=%u;"),
    ],
)
def test_background_processes_alone_give_the_simplest_that_fits(prefix: str, expected: str) -> None:
    assert detect_prefix(log(prefix, BACKGROUND)) == expected


@pytest.mark.parametrize("prefix", ["%m [%p] %q%u@%d/%a ", "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h "])
def test_one_process_may_have_written_nearly_everything(prefix: str) -> None:
    client = Client("app", "shop", "my app [1], 2nd", "127.0.0.1", "5000")
    process = Process(4711, 1795510000, "client backend", client, "SELECT")
    chatty = [
        Event(process, 1795510661 + n, n + 1, text=f"duration: {n}.1 ms  statement: select 1") for n in range(300)
    ]
    assert detect_prefix(log(prefix, [*EVENTS[:2], *chatty])) == prefix
    assert detect_prefix(log(prefix, chatty)) == prefix


HOSTILE = Client("we@ird, r]ole/x", 'my "db" [1]/ä|b', "a:  b=c, d@e", "127.0.0.1", "5000")


@pytest.mark.parametrize(
    "prefix", ["%m [%p] %q%u@%d/%a ", "%m [%p]: user=%u,db=%d,app=%a,client=%h ", "%m;%p;%u;%d;%a;"]
)
def test_names_that_look_like_separators_do_not_lead_astray(prefix: str) -> None:
    process = Process(4711, 1795510000, "client backend", HOSTILE, "SELECT")
    events = [*EVENTS, *(Event(process, 1795510661 + n, n + 1, text="select") for n in range(12))]
    assert detect_prefix(log(prefix, events)) == prefix


def test_a_file_may_begin_in_the_middle_and_hold_noise() -> None:
    prefix = "%m [%p] %q%u@%d/%a "
    noise = (
        'ated by user"), where it was cut\n\tLOG:  a continuation\ncp: cannot stat: No such file or directory\n'
        'psql: error: connection to server on socket "/run/.s.PGSQL.5432" failed: FATAL:  sorry, too many clients\n'
        "TopMemoryContext: 97728 total in 5 blocks\n\n"
    )
    text = noise + log(prefix)
    assert detect_prefix(text) == prefix
    assert 0.9 < match_share(prefix, text) < 1


def test_bytes_need_not_be_utf8_and_lines_may_end_like_on_windows() -> None:
    prefix = "%m [%p] %q%u@%d "
    text = log(prefix).encode().replace(b"reporting", b"r\xe9porting").replace(b"\n", b"\r\n")
    assert detect_prefix(text) == prefix
    assert match_share(prefix, text) == 1


@pytest.mark.parametrize(
    "message",
    [
        'parameter "log_line_prefix" changed to "{}"',
        "statement: ALTER SYSTEM SET log_line_prefix = '{}'",
        "statement: alter system set log_line_prefix to '{}';",
    ],
)
def test_a_log_that_names_its_prefix_is_believed_where_it_is_so(message: str) -> None:
    """Background processes alone would not show what is behind %q."""
    prefix = "%m [%p] %q%d|%u "
    named = Event(BACKGROUND[0].process, BACKGROUND[0].at, 9, text=message.format(prefix))
    assert detect_prefix(log(prefix, [*BACKGROUND, named])) == prefix
    assert detect_prefix(log("%m <%p> ", [*BACKGROUND, named])) == "%m <%p> "


def test_a_change_of_the_prefix_leaves_the_one_that_reads_more() -> None:
    text = log("%m [%p] ", EVENTS[:40]) + log("%t [%p]: [%l-1] user=%u,db=%d ", EVENTS)
    detected = detect_prefix(text)
    assert detected == "%t [%p]: [%l-1] user=%u,db=%d "
    assert match_share(detected, text) == pytest.approx(len(EVENTS) / (len(EVENTS) + 40))


@pytest.mark.parametrize(
    "text", ["", "\n", "hello\n", "\tLOG:  a continuation\n", "INFO: one blank\n", '{"severity": "LOG"}\n']
)
def test_other_texts_have_no_prefix(text: str) -> None:
    assert detect_prefix(text) is None
    assert match_share("%m [%p] ", text) == 0


def test_prose_is_not_taken_for_a_prefix() -> None:
    prose = "the server said at last and in the middle of a long sentence LOG:  nothing\n"
    assert detect_prefix("".join(prose.replace("server", f"server{word}") for word in "abcdefghijkl")) is None
