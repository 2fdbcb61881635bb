"""The shape of an unknown log_line_prefix, found by laying the heads of a log over each other.

Read from left to right: what all heads have in common is literal, what has the shape of a time, a session id, a
host, a number … is such a field, and what varies up to the next separator is text. ``prefix_roles`` then says which
number is the pid and which text the user.

Limitations: two text fields with nothing between them are not told apart, nor are digits that are literals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from pgtrace.prefix import BACKEND_TYPE, COMMAND_TAG, FOLLOW_UPS, SEVERITIES, ZONE
from pgtrace.prefix_roles import LABELS, Line, Piece, prefix_text

#: share of the heads that may go astray here, as a name may hold any separator; the compiled prefix decides later
_ASTRAY = 0.25
#: steps of the search before it gives up
_BUDGET = 150
_SEVERITY = re.compile(rf"(?:{'|'.join(sorted((*SEVERITIES, *FOLLOW_UPS), key=len, reverse=True))})$")

_DATE = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"
_HEX = r"[0-9a-fA-F]{1,4}"
_IPV6 = rf"(?:{_HEX}:){{7}}{_HEX}|(?:{_HEX}(?::{_HEX})*)?::{_HEX}(?::{_HEX})*|{_HEX}(?::{_HEX})*::"
_ADDRESS = rf"(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|(?<![\w:])(?:{_IPV6})(?:%\w+)?|\[local\])"
_HOST_NAME = r"(?<![\w.-])[A-Za-z][\w-]*(?:\.[\w-]+)*"
#: shapes that cannot be mistaken wherever they stand; each becomes one character that no log prints
_ANCHORS = {
    "time_ms": ("\ue001", rf"{_DATE}\.\d{{3}} {ZONE}"),
    "time": ("\ue002", rf"{_DATE} {ZONE}"),
    "epoch": ("\ue003", r"(?<![\w.])\d{10}\.\d{3}(?![\w.])"),
    "session": ("\ue004", r"(?<![\w.])[0-9a-f]{7,9}\.[0-9a-f]{1,7}(?![\w.])"),
    "hostport": ("\ue005", rf"(?:{_ADDRESS}|{_HOST_NAME})\(\d{{2,5}}\)"),
}
_ANCHOR = re.compile("|".join(f"(?P<{name}>{pattern})" for name, (_, pattern) in _ANCHORS.items()))
_ANCHOR_KINDS = {char: name for name, (char, _) in _ANCHORS.items()}
_ANY_ANCHOR = re.compile("[\ue001-\ue005]")
_HOST = rf"({_ADDRESS})(?![\w(])"
#: %r of a client on the Unix socket has no port
_SHAPES = {kind: re.compile(f"({char})") for kind, (char, _) in _ANCHORS.items()} | {
    "hostport": re.compile(f"(\ue005|{_HOST})"),
    "host": re.compile(_HOST),
}
#: shapes that are tried where a field begins, in this order; they may be padded on the left
_PADDED = {kind: re.compile(f" *{pattern.pattern}") for kind, pattern in _SHAPES.items()} | {
    "vxid": re.compile(r" *(\d+/\d+)(?!\w)"),
    "sqlstate": re.compile(r" *([0-9A-Z]{5})(?!\w)"),
    "int": re.compile(r" *(-?\d+)(?![\w.])"),
    "backend": re.compile(rf" *({BACKEND_TYPE})(?!\w)"),
    "tag": re.compile(rf" *({COMMAND_TAG})(?!\w)"),
}
#: printed as nothing by a process without a session, a transaction or a leader
_MAY_BE_EMPTY = {"hostport", "host", "vxid", "int", "tag"}
_SESSION_ONLY = {"text", "host", "hostport", "tag"}

#: ``[unknown]`` is a name, its brackets separate nothing
_UNKNOWN = ("[unknown]", "ÿunknownÿ")
_LABEL = re.compile(
    r"([A-Za-z_][\w ]{0,24}?) ?= ?|([A-Za-z_]+): ?|(PG)-|(pid|xid|txid|transaction ID|line|database|from) "
)
_SEPARATOR_RUN = re.compile("[^\\w\ue001-\ue005]+")
_NEXT_LABEL = re.compile(r"[A-Za-z_]+ ?=")
_WORD = re.compile("[\\w\ue001-\ue005]")

Rests = dict[int, str]
Step = tuple[Piece, Rests]


class _Search:
    """How many heads there are, and how many steps were taken."""

    def __init__(self, heads: int) -> None:
        self.spare = int(heads * _ASTRAY)
        self.steps = 0


def infer_prefix(lines: Sequence[Line]) -> str | None:
    """The log_line_prefix that the heads of ``lines`` look like, or None. It need not read all of them."""
    rests: Rests = {}
    anchors: dict[int, list[str]] = {}
    for number, line in enumerate(lines):
        body = _SEVERITY.sub("", line.head).replace(*_UNKNOWN)
        anchors[number] = [match[0] for match in _ANCHOR.finditer(body)]
        rests[number] = _ANCHOR.sub(lambda match: _ANCHORS[match.lastgroup or ""][0], body)
    pieces = _follow(rests, [], 0, _Search(len(rests)))
    if pieces is None:
        return None
    for piece in pieces:
        for number, value in piece.values.items():
            anchored = value in _ANCHOR_KINDS
            piece.values[number] = anchors[number].pop(0) if anchored else value.replace(_UNKNOWN[1], _UNKNOWN[0])
        if piece.pad and piece.kind in _ANCHORS:
            piece.pad += max(map(len, piece.values.values())) - 1
    text = prefix_text(pieces, lines)
    # nobody prints a name three times: this is not a prefix but prose, or another format
    return text if sum(piece.kind == "text" and piece.escape == "a" for piece in pieces) <= 2 else None


def _follow(rests: Rests, pieces: list[Piece], lost: int, search: _Search) -> list[Piece] | None:
    """The first way to read every rest to its end, the most telling steps first."""
    search.steps += 1
    if search.steps > _BUDGET:
        return None
    going = {number: rest for number, rest in rests.items() if rest}
    if not going:
        return pieces
    ended = rests.keys() - going.keys()
    few = not pieces and len(ended) <= search.spare // 4  # heads without any prefix are noise, unless there are many
    if ended and not few and all(piece.kind != "q" for piece in pieces) and _without_session(ended, pieces):
        pieces = [*pieces, Piece("q")]
    else:
        lost += len(ended)
    for piece, remaining in _steps(going, pieces):
        now_lost = lost + len(going) - len(remaining)
        if now_lost <= search.spare and remaining:
            found = _follow(remaining, [*pieces, piece], now_lost, search)
            if found is not None:
                return found
    return None


def _without_session(numbers: Iterable[int], pieces: list[Piece]) -> bool:
    """Whether these heads print nothing of a session so far: only such processes stop at %q."""
    printed = [piece.values for piece in pieces if piece.kind in _SESSION_ONLY and len(set(piece.values.values())) > 1]
    return not any(values.get(number) for number in numbers for values in printed)


def _steps(rests: Rests, pieces: list[Piece]) -> Iterator[Step]:
    """What may come next, with the rests behind it."""
    before = pieces[-1] if pieces else Piece("literal")
    for kind in (*_ANCHORS, "host"):
        yield from _matched(kind, _SHAPES[kind], rests)
    if before.label in LABELS and len(set(rests.values())) == 1:  # a label with nothing behind it
        yield Piece("text", values=dict.fromkeys(rests, "")), rests
    if not (before.kind == "literal" and before.pad):
        literals = list(_literals(rests))
        yield from literals
        if literals:
            return
    if not before.label:
        yield from _labelled(rests)
    for kind, pattern in _PADDED.items():
        yield from _matched(kind, pattern, rests)
    yield from _most_begin_alike(rests)
    # a separator that all heads have before one that some lack
    yield from sorted(_texts(rests, before.label in LABELS), key=lambda step: len(step[1]) < len(rests))


def _matched(kind: str, pattern: re.Pattern[str], rests: Rests) -> Iterator[Step]:
    """The heads that go on with such a field, and those where the field is empty: they go on with what follows it."""
    matches = {number: match for number, rest in rests.items() if (match := pattern.match(rest)) is not None}
    piece = Piece(kind, values={number: match[1] for number, match in matches.items()})
    if not matches or (kind == "hostport" and _ANCHORS[kind][0] not in piece.values.values()):
        return
    ends = {number: match.end() for number, match in matches.items()}
    left = max(match.end() if match.start(1) else 0 for match in matches.values())
    width = 0 if left else _right_width(ends, rests)
    piece.pad = left or -width
    remaining = {number: rests[number][max(end, _filled(rests[number], end, width)) :] for number, end in ends.items()}
    if kind in _MAY_BE_EMPTY and len(remaining) < len(rests):
        following = {rest[:1] for rest in remaining.values()} - {""}
        blanks = " " * (left or width)
        for number in rests.keys() - remaining.keys():
            rest = rests[number].removeprefix(blanks)
            if rest[:1] in following and rests[number].startswith(blanks):
                piece.values[number], remaining[number] = "", rest
    if _plausible(piece):
        yield piece, remaining


def _right_width(ends: dict[int, int], rests: Rests) -> int:
    """The width that values of different lengths are filled up to with blanks; 0 where they are not."""
    filled = {number: len(rests[number]) - len(rests[number][end:].lstrip(" ")) for number, end in ends.items()}
    literal = min(filled[number] - end for number, end in ends.items())
    widths = [filled[number] - literal for number, end in ends.items() if filled[number] - literal > end]
    short = {end for number, end in ends.items() if filled[number] - literal > end}
    is_told = any(short) and (len(short) > 1 or widths[0] in ends.values())  # an empty value alone tells nothing
    return widths[0] if is_told and len(set(widths)) == 1 else 0


def _filled(rest: str, end: int, width: int) -> int:
    return width if width > end and rest[end:width].strip(" ") == "" else end


def _plausible(piece: Piece) -> bool:
    """Five digits are an SQLSTATE where most of them say that all went well; else they are a number."""
    if piece.kind != "sqlstate":
        return True
    values = list(piece.values.values())
    return values.count("00000") > 0.3 * len(values)


def _literals(rests: Rests) -> Iterator[Step]:
    """The separators that all rests begin with. Two blanks or more may be padding of the field behind them."""
    literal = _common(list(rests.values()))
    if not literal:
        return
    choices = [Piece("literal", text=literal)]
    bare = literal.rstrip(" ")
    if len(literal) - len(bare) > 1:
        choices.append(Piece("literal", text=bare or " ", pad=1))
        behind = [rest[len(literal) :] for rest in rests.values()]
        if all(re.match("[\ue001-\ue005]|-?\\d+(?![\\w.])", rest) for rest in behind):
            choices.reverse()
    for piece in choices:
        yield piece, {number: rest[len(piece.text) :] for number, rest in rests.items()}


def _common(rests: list[str]) -> str:
    low, high = min(rests), max(rests)
    common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False)))
    literal = "".join(takewhile(lambda char: not _WORD.match(char), common))
    if literal == "-" and re.match(r"-1(?!\d)", common):
        return "-1"  # as in [%l-1]
    return literal[:-1] if common[len(literal) - 1 :].startswith(("[local]", "[none]")) else literal


def _labelled(rests: Rests) -> Iterator[Step]:
    """``user=``, ``db:``, ``PG-``: a word that all heads have here and that names the field behind it."""
    match = _LABEL.match(min(rests.values(), key=len))
    if match is None:
        return
    equals, colon, pg, word = match.groups()
    name = (equals or colon or pg or word).strip().lower()
    if not equals and name not in LABELS:
        return
    for label in dict.fromkeys((match[0], match[0].rstrip(" "))):
        remaining = {number: rest[len(label) :] for number, rest in rests.items() if rest.startswith(label)}
        if len(remaining) == len(rests) or (equals and label.endswith("=")):
            yield Piece("literal", text=label, label=name), remaining


def _most_begin_alike(rests: Rests) -> Iterator[Step]:
    first = [rest[0] for rest in rests.values()]
    char = max(set(first), key=first.count)
    if not _WORD.match(char) and char != " ":
        yield Piece("literal", text=char), {number: rest[1:] for number, rest in rests.items() if rest[0] == char}


def _texts(rests: Rests, may_be_empty: bool) -> Iterator[Step]:
    """A text up to a separator, nearest first; or up to the end."""
    padded = sum(rest[0] == " " for rest in rests.values()) > (1 - _ASTRAY) * len(rests)
    for separator in (*_separators(rests, padded), ""):
        tail = "" if separator else _common([rest[::-1] for rest in rests.values()])[::-1]
        ends: dict[int, int] = {}
        for number, rest in rests.items():
            start = len(rest) - len(rest.lstrip(" ")) if padded else 0
            end = rest.find(separator, start) if separator else len(rest) - len(tail)
            anchor = _ANY_ANCHOR.search(rest)
            if end >= 0 and (anchor is None or anchor.start() >= end):
                ends[number] = end
        piece = Piece("text", values={number: rests[number][:end].strip(" ") for number, end in ends.items()})
        if not ends or not (may_be_empty or any(piece.values.values())):
            continue
        width = _right_width(ends, rests) if separator[:1] == " " and not padded else 0
        widths = [
            end if rests[number].startswith(" ") else -end
            for number, end in ends.items()
            if piece.values[number] and rests[number][:end] != piece.values[number]
        ]
        piece.pad = -width or max(widths, key=abs, default=0)
        yield piece, {number: rests[number][_filled(rests[number], end, width) :] for number, end in ends.items()}


def _separators(rests: Rests, padded: bool) -> list[str]:
    """What may end a text: runs of separators in the shortest head (with a label behind them), and their beginnings."""
    shortest = min(rests.values(), key=lambda rest: (_WORD.search(rest) is None, len(rest.strip(" "))))
    anchor = _ANY_ANCHOR.search(shortest)
    within = shortest[: anchor.start()] if anchor is not None else shortest
    found: dict[str, int] = {}
    for run in _SEPARATOR_RUN.finditer(within, len(within) - len(within.lstrip(" ")) if padded else 0):
        label = _NEXT_LABEL.match(within, run.end())
        if label is not None:
            found.setdefault(run[0] + label[0], run.start())
        for part in (*re.split(" {2,}", run[0]), " ") if "  " in run[0] else [run[0]]:
            for length in range(len(part), 0, -1):
                found.setdefault(part[:length], run.start())
    if anchor is not None and not within.endswith(tuple(found)):
        found[anchor[0]] = anchor.start()
    # names are full of dashes and dots
    return sorted(found, key=lambda text: (text.strip("-.") == "", found[text]))
