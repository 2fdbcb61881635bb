"""``pgtrace.toml``: what ``pgtrace run`` reads and writes. Relative paths are relative to the file's folder."""

from __future__ import annotations

import difflib
import glob
import string
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from pgtrace.errors import UsageError
from pgtrace.report.write import FORMATS, Wanted
from pgtrace.timespan import Window, window
from pgtrace.tomlkeys import Keys, read_keys, tables_of
from pgtrace.zones import zone_named

_TABLES = ("lake", "source", "report", "retention")
#: what stands for a date or a word in the folder of a report
_DATES = ("date", "since", "until")
_PLACEHOLDERS = (*_DATES, "server", "name")


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """A ``[[source]]``: the logs of one server, and its WAL."""

    server: str
    paths: tuple[str, ...]
    prefix: str | None
    timezone: str | None
    log_format: str
    redact: bool
    wal: tuple[str, ...]
    pg_waldump: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """A ``[[report]]``: what is asked, of which window, where it goes and how long it stays there."""

    name: str
    queries: tuple[str, ...]
    since: str | None
    until: str | None
    timezone: str
    server: str | None
    out: str
    formats: tuple[str, ...]
    html: bool
    set: dict[str, str]
    raw_cells: bool
    keep: int | None
    keep_days: int | None

    def wanted(self, now: datetime) -> Wanted:
        """The report as of ``now``. Raises UsageError for names and values that do not fit."""
        chosen = window(self.since, self.until, self.timezone, now)
        return Wanted(chosen, self.queries, self.server, self.formats, self.html, self.set, self.raw_cells, self.name)

    def folder(self, chosen: Window) -> Path:
        """Where the report of this window goes."""
        zone = zone_named(self.timezone)
        days = {"date": chosen.now, "since": chosen.since, "until": chosen.until}
        words: dict[str, object] = {name: time.astimezone(zone).date() for name, time in days.items() if time}
        return Path(self.out.format_map({**words, **self._words}))

    def pattern(self) -> str:
        """A glob of the folders that reports of other days are in."""
        pieces = []
        for literal, field, shape, _ in string.Formatter().parse(self.out):
            pieces.append(glob.escape(literal))
            if field in _DATES:
                pieces.append("/".join("*" for _ in (shape or "").split("/")))  # {date:%Y/%m} is two folders
            elif field is not None:
                pieces.append(glob.escape(self._words[field]))
        return "".join(pieces)

    @property
    def _words(self) -> dict[str, str]:
        return {"server": (self.server or "all").replace("/", "_"), "name": self.name.replace("/", "_")}


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. ``keep_days`` and ``compact`` are about the lake, None and False leave it as it is."""

    path: Path
    lake: Path
    jobs: int | None
    sources: tuple[SourceConfig, ...]
    reports: tuple[ReportConfig, ...]
    keep_days: int | None
    compact: bool


def read_config(path: Path) -> Config:
    """Read and check the file. Raises UsageError, naming file and line, for all that can be known to be wrong."""
    keys = read_keys(path)
    folder = path.resolve().parent
    keys.only(_TABLES)
    lake, retention = _one(keys, "lake", ("path", "jobs")), _one(keys, "retention", ("keep_days", "compact"))
    config = Config(
        path,
        Path(_below(folder, lake.text("path") or "lake")),
        lake.count("jobs"),
        tuple(_source(item, folder) for item in tables_of(keys, "source", many=True)),
        tuple(_report(item, folder) for item in tables_of(keys, "report", many=True)),
        retention.count("keep_days"),
        retention.flag("compact"),
    )
    if not (config.sources or config.reports or config.keep_days or config.compact):
        raise UsageError(f"{path}: has neither a [[source]] nor a [[report]]")
    _check_distinct(tables_of(keys, "report", many=True), config.reports)
    return config


def _one(keys: Keys, name: str, known: Iterable[str]) -> Keys:
    [found] = tables_of(keys, name, many=False) or [Keys(keys.path, keys.lines, name, 0, {})]
    found.only(known)
    return found


def _source(keys: Keys, folder: Path) -> SourceConfig:
    keys.only(field.name for field in fields(SourceConfig))
    source = SourceConfig(
        keys.required("server"),
        tuple(_below(folder, text) for text in keys.texts("paths")),
        keys.text("prefix"),
        keys.text("timezone"),
        keys.text("log_format") or "auto",
        keys.flag("redact"),
        tuple(_below(folder, text) for text in keys.texts("wal")),
        tuple(_below(folder, text) for text in keys.texts("pg_waldump")),
    )
    if not source.paths and not source.wal:
        keys.fail("paths", "[source] needs the key 'paths', or 'wal'")
    if "-" in keys.texts("paths"):
        keys.fail("paths", "'-' is not for a scheduled run, which has no standard input")
    if source.timezone is not None:
        _checked(keys, "timezone", zone_named, source.timezone)
    if source.log_format != "auto":
        _checked(keys, "log_format", _log_format, source.log_format)
    if source.prefix is not None:
        _checked(keys, "prefix", _prefix, source.prefix)
    return source


def _report(keys: Keys, folder: Path) -> ReportConfig:
    keys.only(field.name for field in fields(ReportConfig))
    formats = keys.texts("formats") if "formats" in keys.values else ("csv",)
    for text in formats:
        if text not in FORMATS:
            keys.fail("formats", f"'{text}' is not a format: there are {', '.join(FORMATS)} (and html = true)")
    report = ReportConfig(
        keys.required("name"),
        keys.texts("queries"),
        keys.text("since"),
        keys.text("until"),
        keys.text("timezone") or "UTC",
        keys.text("server"),
        _below(folder, keys.required("out")),
        formats,
        keys.flag("html"),
        _settings(keys.table("set")),
        keys.flag("raw_cells"),
        keys.count("keep"),
        keys.count("keep_days"),
    )
    if not (formats or report.html):
        keys.fail("formats", "the report has no format")
    _checked(keys, "timezone", zone_named, report.timezone)
    _check_out(keys, report)
    now = datetime.now().astimezone()
    for key, time in (("since", report.since), ("until", report.until)):
        if time is not None:
            _checked(keys, key, lambda text: window(text, None, report.timezone, now), time)
    _checked(keys, "since", report.wanted, now)
    wanted = report.wanted(now)
    for name in report.queries:
        _checked(keys, "queries", lambda name: Wanted(wanted.window, (name,)).chosen(), name)
    _checked(keys, "set", lambda wanted: wanted.chosen(), wanted)
    return report


def _settings(values: dict[str, Any]) -> dict[str, str]:
    """``top = 5`` and ``slow_queries.top = 5`` as text, which is read as the parameter's type."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in flat.items()}


def _check_out(keys: Keys, report: ReportConfig) -> None:
    try:
        asked = {field for _, field, _, _ in string.Formatter().parse(report.out) if field is not None}
    except ValueError as error:
        keys.fail("out", f"out = '{report.out}': {error}")
    for field in sorted(asked - set(_PLACEHOLDERS)):
        keys.fail("out", f"out has no placeholder {{{field}}}: there are {', '.join(_PLACEHOLDERS)}")
    for field in ("since", "until"):
        if field in asked and getattr(report, field) is None:
            keys.fail("out", f"out has {{{field}}}, and the report has no key '{field}'")
    if (report.keep or report.keep_days) and not asked & set(_DATES):
        key = "keep" if report.keep else "keep_days"
        keys.fail(key, f"{key} is for reports that lie side by side: out needs a placeholder such as {{date}}")
    try:
        report.folder(window(report.since, report.until, report.timezone))
    except UsageError:
        pass  # told of the key itself
    except (ValueError, LookupError):
        keys.fail("out", f"out = '{report.out}': a date is written as {{date}}, or as {{date:%Y-%m}}")


def _check_distinct(tables: list[Keys], reports: tuple[ReportConfig, ...]) -> None:
    for number, report in enumerate(reports):
        for other in reports[:number]:
            if other.name == report.name:
                tables[number].fail("name", f"there are two reports named '{report.name}'")
            if other.pattern() == report.pattern():
                tables[number].fail("out", f"out is that of report '{other.name}' as well; each needs its own folder")


def _checked(keys: Keys, key: str, check: Any, value: object) -> None:
    try:
        check(value)
    except UsageError as error:
        keys.fail(key, str(error))


def _log_format(name: str) -> None:
    from pgtrace.registry import log_formats

    known = ["auto", *log_formats()]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise UsageError(f"unknown log format '{name}': {f'did you mean {near[0]}?' if near else ', '.join(known)}")


def _prefix(text: str) -> None:
    from pgtrace.prefix import compile_prefix

    compile_prefix(text)


def _below(folder: Path, text: str) -> str:
    """A path as seen from the file's folder; ``~`` is the user's home."""
    return str(folder / Path(text).expanduser()) if text != "-" else text
