"""Which escape prints a field of an unknown log_line_prefix: by its label, by what messages say, by how it varies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

#: words that people put before a field
LABELS = {
    word: escape
    for escape, words in {
        "u": "user usr username user_name u role",
        "d": "db database dbname database_name d datname",
        "a": "app application appname app_name application_name a",
        "h": "client host client_addr client_host remote_host ip addr h",
        "r": "remote from r client_ip",
        "p": "pid p process process_id proc backend_pid",
        "l": "line l lineno line_no session_line log_line",
        "x": "xid tx txid trx trx_id xact transaction transaction_id x",
        "v": "vxid vtx vtxid vx virtual_transaction v",
        "c": "session sess sid session_id sessionid c",
        "Q": "qid query_id queryid q",
        "e": "state sqlstate err error errcode error_code sql_error_code sql_state code e pg",
        "i": "cmd tag command command_tag cmdtag ps i",
        "b": "type backend backend_type b",
        "s": "start started start_time session_start s",
        "P": "leader leader_pid",
    }.items()
    for word in words.split()
} | {"transaction id": "x", "sql_error_code": "e"}
_BY_KIND = {
    "time_ms": "m", "epoch": "n", "session": "c", "hostport": "r", "host": "h", "vxid": "v", "sqlstate": "e",
    "backend": "b", "tag": "i",
}  # fmt: skip
_NUMBERS = ("p", "l", "x", "Q", "P")
_NAMES = ("u", "d", "a")
_CLIENTS = re.compile(r"^(?:psql|pg_|pgbench|PostgreSQL JDBC|DBeaver|pgAdmin|walreceiver|vacuumdb|reindexdb)| ")

_SAYS_WHO = re.compile(
    r"connection authorized: user=(?P<u>.*?) database=(?P<d>.*?)(?: application_name=.*)?(?: SSL enabled.*| GSS.*)?$"
    r"|disconnection: session time: \S+ user=(?P<u2>.*) database=(?P<d2>.*) host=\S*(?: port=\d+)?$"
    r'|role "(?P<u3>.*)" does not exist$|database "(?P<d3>.*)" does not exist$'
    r'|password authentication failed for user "(?P<u4>.*)"$'
)
_BACKGROUND = (
    "checkpoint ", "restartpoint ", "automatic ", "starting PostgreSQL", "listening on", "database system ", "redo ",
    "received ", "parameter ", "background worker ", "shutting down", "redirecting log output", "server process (PID",
    "terminating any other", "all server processes", "aborting any", "archive command ", "started streaming",
)  # fmt: skip


class Line(NamedTuple):
    """A line with a level: its head, which ends with the level, and its text."""

    head: str
    text: str


@dataclass(slots=True)
class Piece:
    """A part of a prefix: a literal, ``q``, or a field with its value in every line (by number) that has one."""

    kind: str
    text: str = ""
    label: str = ""
    pad: int = 0
    values: dict[int, str] = field(default_factory=dict)
    escape: str = ""


def says_who(text: str) -> Mapping[str, str]:
    """User (u) and database (d) of the session, where the message names them."""
    match = _SAYS_WHO.match(text)
    return {} if match is None else {name[0]: value for name, value in match.groupdict().items() if value is not None}


def prefix_text(pieces: list[Piece], lines: Sequence[Line]) -> str:
    """The log_line_prefix that prints ``pieces``, with an escape for each of its fields."""
    labelled = [(before.label, piece) for before, piece in zip([Piece("literal"), *pieces], pieces, strict=False)]
    for label, piece in labelled:
        piece.label = label if piece.kind != "literal" else piece.label
    _times(pieces)
    _numbers(pieces)
    _names(pieces, lines)
    _pads(pieces)
    used = {piece.escape for piece in pieces}
    text = ""
    for piece in pieces:
        if piece.kind == "literal":
            text += piece.text.replace("%", "%%")
        elif piece.kind == "q":
            text += "%q"
        else:
            text += f"%{piece.pad or ''}{piece.escape}"
    if "[]" in text and "P" not in used and "p" in used and used & set(_NAMES):
        text = text.replace("[]", "[%P]", 1)
    return text


def _pads(pieces: list[Piece]) -> None:
    """Blanks in a row beside a field are its padding: a longer value would take their place."""
    fixed = ("literal", "q", "time_ms", "time", "epoch")
    for before, piece, after in zip([Piece("q"), *pieces], pieces, [*pieces[1:], Piece("q")], strict=False):
        if piece.kind != "literal":
            continue
        bare = piece.text.rstrip(" ")
        blanks = len(piece.text) - len(bare)
        # between two fields there may be an empty third one: its blanks stay
        is_padding = after.pad > 0 or (after.pad == 0 and (bool(bare) or after.kind == "int"))
        if blanks > 1 and after.kind not in fixed and is_padding:
            piece.text = bare or " "
            after.pad = blanks + (after.pad or _longest(after)) - (0 if bare else 1)
        bare = piece.text.lstrip(" ")
        blanks = len(piece.text) - len(bare)
        if bare and blanks > 1 and before.kind not in fixed and before.pad <= 0:
            piece.text = bare
            before.pad = (before.pad or -_longest(before)) - blanks


def _longest(piece: Piece) -> int:
    return max(map(len, piece.values.values()))


def _times(pieces: list[Piece]) -> None:
    for piece in pieces:
        piece.escape = _BY_KIND.get(piece.kind, "")
    times = [piece for piece in pieces if piece.kind == "time"]
    has_time = any(piece.kind in ("time_ms", "epoch") for piece in pieces)
    # the later of two times is that of the message, the earlier that of the start of the process
    latest = max(times, key=lambda piece: sorted(piece.values.values()), default=None)
    for piece in times:
        is_start = piece is not latest or LABELS.get(piece.label) in ("s", "c") or len(times) == 1
        piece.escape = "s" if is_start and (has_time or len(times) > 1) and not _is_now(piece, pieces) else "t"
    hosts = [piece for piece in pieces if piece.kind == "host" and LABELS.get(piece.label) == "r"]
    for piece in hosts:
        piece.escape = "r"


def _is_now(piece: Piece, pieces: list[Piece]) -> bool:
    """Whether a time is that of the message, as another field has it with milliseconds."""
    now = next((other.values for other in pieces if other.kind == "time_ms"), {})
    return any(now.values()) and all(now.get(number, "")[:19] == value[:19] for number, value in piece.values.items())


def _numbers(pieces: list[Piece]) -> None:
    fields = [piece for piece in pieces if piece.kind == "int"]
    varied = [piece for piece in fields if len(set(piece.values.values())) > 1]
    for piece in fields:
        values = set(piece.values.values())
        if varied and len(values) == 1 and not values & {"", "0"} and not piece.label:
            piece.kind, piece.text = "literal", values.pop()
    fields = [piece for piece in fields if piece.kind == "int"]
    for piece in fields:
        if LABELS.get(piece.label) in _NUMBERS:
            piece.escape = LABELS[piece.label]
    _pid_and_line(fields, [piece for piece in pieces if piece.kind == "session"], pieces)
    for piece in fields:
        twin = next((other for other in fields if other.escape and other.values == piece.values), None)
        if not piece.escape:
            piece.escape = twin.escape if twin is not None else _number(piece, {other.escape for other in fields})


def _pid_and_line(fields: list[Piece], sessions: list[Piece], pieces: list[Piece]) -> None:
    """The pid is the last part of the session id; the line number counts up for each pid."""
    free = [piece for piece in fields if not piece.escape]
    if sessions and not any(piece.escape == "p" for piece in fields):
        pids = {number: str(int(value.split(".")[1], 16)) for number, value in sessions[0].values.items() if value}
        free = [piece for piece in free if not _claim(piece, "p", pids.items() <= piece.values.items())]
    if not any(piece.escape == "l" for piece in fields):
        keys = [*sessions, *(piece for piece in fields if piece.escape in ("p", ""))]
        pairs = [(_counts_up(key, piece), key, piece) for key in keys for piece in free if key is not piece]
        share, key, piece = max(pairs, key=lambda pair: pair[0], default=(0.0, Piece(""), Piece("")))
        if share > 0.9:
            piece.escape = "l"
            key.escape = key.escape or ("" if any(other.escape == "p" for other in fields) else "p")
    for before, after in pairwise(pieces):
        if before.kind == "int" and not before.escape and after.text.startswith("-1"):
            _claim(before, "l", all(other.escape != "l" for other in fields))
    if sessions or any(piece.escape == "p" for piece in fields):
        return
    for piece in fields:
        if not piece.escape and _may_be_pid(piece):
            piece.escape = "p"
            return


def _claim(piece: Piece, escape: str, fits: bool) -> bool:
    if fits:
        piece.escape = escape
    return fits


def _counts_up(key: Piece, piece: Piece) -> float:
    """The share of lines whose number is above that of the line before with the same key, often by one."""
    last: dict[str, int] = {}
    steps: list[int] = []
    for number, value in piece.values.items():
        owner = key.values.get(number)
        if owner and value:
            if owner in last:
                steps.append(int(value) - last[owner])
            last[owner] = int(value)
    if len(steps) < 3 or steps.count(1) < 0.4 * len(steps):
        return 0.0
    return sum(step > 0 for step in steps) / len(steps)


def _may_be_pid(piece: Piece) -> bool:
    """A process id is above 0 and not large, and it does not count up from 1 from line to line."""
    values = [int(value) for value in piece.values.values() if value]
    if not values or min(values) <= 0 or max(values) >= 2**31:
        return False
    counted = sum(after - before == 1 for before, after in pairwise(values))
    return min(values) > 1 or counted <= 0.3 * len(values)


def _looks_like_xid(piece: Piece) -> bool:
    """No transaction has an xid before it writes, so 0 is among the values."""
    return "0" in piece.values.values()


def _number(piece: Piece, used: set[str]) -> str:
    values = [int(value) for value in piece.values.values() if value]
    if not values or "" in piece.values.values():
        return "P"
    if max(map(abs, values)) >= 2**32:
        return "Q"
    order = "xQl" if _looks_like_xid(piece) else "lxQ"
    return next((escape for escape in order if escape not in used), "x")


def _names(pieces: list[Piece], lines: Sequence[Line]) -> None:
    fields = [piece for piece in pieces if piece.kind == "text"]
    for piece in fields:
        piece.escape = LABELS.get(piece.label, "")
    background = {number for number, line in enumerate(lines) if line.text.startswith(_BACKGROUND)}
    for piece in fields:
        constant = set(piece.values.values()) - {""}
        if (
            not piece.escape
            and len(constant) == 1
            and any(piece.values.get(number) in constant for number in background)
        ):
            piece.kind, piece.text = "literal", constant.pop()
    fields = [piece for piece in fields if piece.kind == "text" and not piece.escape]
    left = [escape for escape in _NAMES if all(piece.escape != escape for piece in pieces)]
    for piece, escape in _said(fields, lines):
        if escape in left and not piece.escape:
            piece.escape = escape
            left.remove(escape)
    for piece, escape in (
        *_by_shape(pieces, fields),
        *zip([piece for piece in fields if not piece.escape], left, strict=False),
    ):
        if not piece.escape and escape in left:
            piece.escape = escape
            left.remove(escape)
    for piece in fields:
        if not piece.escape:
            piece.escape = left.pop(0) if left else "a"


def _said(fields: list[Piece], lines: Sequence[Line]) -> Iterator[tuple[Piece, str]]:
    """Fields that print what the messages of the same lines say, most often first."""
    score: dict[tuple[int, str], int] = {}
    for number, line in enumerate(lines):
        for escape, name in says_who(line.text).items():
            for index, piece in enumerate(fields):
                if number in piece.values:
                    score[index, escape] = score.get((index, escape), 0) + (1 if piece.values[number] == name else -1)
    for (index, escape), agreed in sorted(score.items(), key=lambda item: -item[1]):
        if agreed > 0:
            yield fields[index], escape


def _by_shape(pieces: list[Piece], fields: list[Piece]) -> Iterator[tuple[Piece, str]]:
    """``user@database``; an application has a name like psql, or none yet when user and database are known."""
    for first, at, second in zip(pieces, pieces[1:], pieces[2:], strict=False):
        if first.kind == second.kind == "text" and at.text == "@":
            yield first, "u"
            yield second, "d"
    unknown = {id(piece): list(piece.values.values()).count("[unknown]") for piece in fields}
    for piece in fields:
        if any(_CLIENTS.search(value) for value in piece.values.values()):
            yield piece, "a"
    if len(set(unknown.values())) > 1:
        yield max(fields, key=lambda piece: unknown[id(piece)]), "a"
