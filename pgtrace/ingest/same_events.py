"""Files that hold the same events in several formats: with log_destination = stderr,csvlog each is written twice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from pgtrace import registry
from pgtrace.ingest.sources import Source
from pgtrace.ingest.walsegments import WAL_FORMAT, segment_name

#: what the server itself writes, the most complete first; stderr leaves out what its prefix does not name
WRITTEN_BY_SERVER = ("jsonlog", "csvlog", "stderr")
_EXTENSIONS = re.compile(r"\.(?:log|csv|json|gz|zst|bz2|xz|lz4)\b")
_DIGITS = re.compile(r"\d+")
_NUMBERS = re.compile(r"\.?\d+")
_WAL_TEXT = re.compile(r"^([0-9A-F]{24})\.(?:txt|waldump)(?:\.(?:gz|zst|bz2|xz|lz4))?$")
#: digits of a date at least; fewer are a count, as logrotate's
_DATE_DIGITS = 8


def same_events(found: Sequence[tuple[Source, str]]) -> tuple[list[tuple[Source, str]], list[tuple[Source, str]]]:
    """Of sources with their formats: those to read, and those left out with the reason.

    Files of one folder whose names differ in extension and digits only are one stream (the server opens them under
    one log_filename, and each rotates at its own size); of the formats in it the most complete is read. A file whose
    name is of a time before the first file of that format is read as well: the format was switched on later. A file
    that was asked for by its name is always read, and decides nothing about others. Of a WAL segment and its text,
    ``SEGMENT.txt``, the text is read.
    """
    streams: dict[tuple[PurePath, str], list[tuple[Source, str]]] = {}
    for source, log_format in found:
        if not source.is_named and log_format in WRITTEN_BY_SERVER:
            streams.setdefault(_stream(source), []).append((source, log_format))
    reasons = _with_their_text([source for source, log_format in found if log_format == WAL_FORMAT])
    for members in streams.values():
        best = min((log_format for _, log_format in members), key=WRITTEN_BY_SERVER.index)
        chosen = [source for source, log_format in members if log_format == best]
        for source, log_format in members:
            if log_format != best and not _is_before(source, chosen):
                reasons[source.label] = f"the same events as {chosen[0].label} ({best}); name the file to read it too"
    kept = [(source, log_format) for source, log_format in found if source.label not in reasons]
    return kept, [(source, reasons[source.label]) for source, _ in found if source.label in reasons]


def carries_lines(log_format: str) -> bool:
    """Whether the format is another log that the server's lines arrived in (syslog, a container's, a cloud's)."""
    known = registry.log_formats().get(log_format)
    return known is not None and log_format not in (*WRITTEN_BY_SERVER, "pgbouncer") and not known.tables


def _with_their_text(sources: Sequence[Source]) -> dict[str, str]:
    """WAL segments found in a folder beside the text that pg_waldump made of them, which needs no pg_waldump now."""
    texts = {}
    for source in sources:
        if match := _WAL_TEXT.match(PurePath(source.label).name):
            texts[PurePath(source.label).parent, match[1]] = source.label
    reasons = {}
    for source in sources:
        name = segment_name(source)
        text = texts.get((PurePath(source.label).parent, name["name"])) if name else None
        if text is not None and not source.is_named:
            reasons[source.label] = f"the same WAL as {text}; name the file to read it too"
    return reasons


def _stream(source: Source) -> tuple[PurePath, str]:
    path = PurePath(source.label)
    return path.parent, _NUMBERS.sub("", _EXTENSIONS.sub("", path.name))


def _is_before(source: Source, chosen: Sequence[Source]) -> bool:
    own = _time_in_name(source)
    first = min(_time_in_name(other) for other in chosen)
    return len(own) == len(first) >= _DATE_DIGITS and own < first


def _time_in_name(source: Source) -> str:
    return "".join(_DIGITS.findall(_EXTENSIONS.sub("", PurePath(source.label).name)))
