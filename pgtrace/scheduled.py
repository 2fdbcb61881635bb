"""What ``pgtrace run`` does: reads the sources, writes the reports, removes what is old; one failure stops no other."""

from __future__ import annotations

import fcntl
import glob
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from pgtrace.api import LakeHandle, open_lake
from pgtrace.config import Config, ReportConfig, SourceConfig
from pgtrace.errors import PgtraceError
from pgtrace.ingest import SourceResult
from pgtrace.ingest.reporter import Reporter, Silent
from pgtrace.ingest.sources import open_sources
from pgtrace.report import Report, manifest, write_report
from pgtrace.report.retention import outdated, remove

_LOCK = "run.lock"
#: what may go wrong with one source or report and says so in a line
_FAILURES = (PgtraceError, OSError, duckdb.Error, pl.exceptions.PolarsError)


@dataclass(slots=True)
class Outcome:
    """What a run did. ``problems`` are for the one who is called at night, ``notes`` for who asks."""

    sources: list[SourceResult] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    pruned: int = 0
    merged: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The run in one line."""
        read = [source for source in self.sources if source.status == "read"]
        lines, unparsed = (sum(getattr(source, name) for source in read) for name in ("lines", "unparsed"))
        done = [
            f"read {len(read)} of {_number(len(self.sources), 'file')} ({lines:,} new lines, {unparsed:,} unparsed)",
            f"wrote {_number(len(self.reports), 'report')}",
            *([f"removed {_number(len(self.removed), 'old report')}"] if self.removed else []),
            *([f"pruned {_number(self.pruned, 'part')}"] if self.pruned else []),
            *([f"merged {_number(self.merged, 'part')}"] if self.merged else []),
            _number(len(self.problems), "problem"),
        ]
        return f"{', '.join(done)}; {self.seconds:.1f} s"


def run(config: Config, now: datetime, reporter: Reporter | None = None) -> Outcome:
    """Do all that the file says, as of ``now``. Raises PgtraceError where another run is at work or no lake opens."""
    began = time.monotonic()
    outcome = Outcome()
    with _only_run(config.lake):
        lake = open_lake(config.lake)
        for source in config.sources:
            _read(lake, config, source, outcome, reporter or Silent())
        for report in config.reports:
            _write(lake, report, now, outcome, reporter or Silent())
        _keep_up(lake, config, now, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def dry_run(config: Config, now: datetime) -> tuple[list[str], list[str]]:
    """What a run would do, a line each, and its problems; nothing is opened but the heads of the sources."""
    lines, problems = [f"lake     {config.lake}"], []
    for source in config.sources:
        found, wrong, notes = present(source)
        try:
            logs = open_sources(found, leave_out=[config.lake])
            size = sum(log.size_bytes or 0 for log in logs)
            told = f"{_number(len(logs), 'file')}, {size / 1e6:,.1f} MB, what is new in them"
        except _FAILURES as error:
            wrong, told = [*wrong, _line(error)], "nothing"
        lines.append(f"read     {' '.join([*source.paths, *source.wal])} as server {source.server}: {told}")
        lines += [f"         {note}" for note in notes]
        problems += wrong
    for report in config.reports:
        try:
            lines += _planned(report, now)
        except _FAILURES as error:
            problems.append(f"report {report.name}: {_line(error)}")
    if config.keep_days is not None:
        lines.append(f"prune    days before {_first_day(config.keep_days, now)}")
    if config.compact:
        lines.append("compact  the small files of each day")
    return lines, problems


def _planned(report: ReportConfig, now: datetime) -> Iterator[str]:
    wanted = report.wanted(now)
    folder = report.folder(wanted.window)
    if folder.exists():
        manifest.check_own(folder)
    since, until = (
        "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}" for moment in (wanted.window.since, wanted.window.until)
    )
    forms = ", ".join([*report.formats, *(["html"] if report.html else [])])
    yield f"write    {folder}: {_number(len(wanted.chosen()), 'query', 'queries')}, {forms}; {since} to {until} UTC"
    for path in _old(report, now, folder):
        yield f"remove   {path}"


def present(source: SourceConfig) -> tuple[list[str], list[str], list[str]]:
    """The paths that are there, what is wrong with others, and what is only to be noted.

    A pattern that no name fits is noted while its folder is there: a rotation may just have taken the last file. A
    folder or file that is gone is wrong.
    """
    found, problems, notes = [], [], []
    for text in (*source.paths, *source.wal):
        if not glob.has_magic(text) or os.path.lexists(text):
            if os.path.lexists(text):
                found.append(text)
            else:
                problems.append(f"{text}: no such file or folder")
        elif glob.glob(text, recursive=True):  # noqa: PTH207  absolute patterns too
            found.append(text)
        else:
            steady = Path(text)
            while glob.has_magic(str(steady)):
                steady = steady.parent
            if not steady.is_dir():
                problems.append(f"{text}: there is no folder {steady}")
            elif not os.access(steady, os.R_OK | os.X_OK):
                problems.append(f"{steady}: this folder may not be read")
            else:
                notes.append(f"{text}: no file has a name like that now")
    return found, problems, notes


def _read(lake: LakeHandle, config: Config, source: SourceConfig, outcome: Outcome, reporter: Reporter) -> None:
    found, problems, notes = present(source)
    outcome.problems += problems
    outcome.notes += notes
    if not found:
        return
    try:
        results = lake.ingest(
            found,
            server=source.server,
            log_format=source.log_format,
            prefix=source.prefix,
            timezone=source.timezone,
            redact=source.redact,
            pg_waldump=source.pg_waldump,
            jobs=config.jobs,
            reporter=reporter,
        )
    except _FAILURES as error:
        outcome.problems.append(f"source {source.server}: {_line(error)}")
        return
    outcome.sources += results
    for result in results:
        if result.status == "failed":
            outcome.problems.append(result.message or f"{result.path}: could not be read")
        elif result.message:
            outcome.notes.append(result.message)


def _write(lake: LakeHandle, report: ReportConfig, now: datetime, outcome: Outcome, reporter: Reporter) -> None:
    try:
        wanted = report.wanted(now)
        folder = report.folder(wanted.window)
        reporter.message(f"writing {folder}")
        outcome.reports.append(write_report(lake, folder, wanted))
    except _FAILURES as error:
        outcome.problems.append(f"report {report.name}: {_line(error)}")
        return  # and nothing older is removed
    for path in _old(report, now, folder):
        try:
            remove(path)
            outcome.removed.append(path)
        except _FAILURES as error:
            outcome.problems.append(f"report {report.name}: {_line(error)}")


def _old(report: ReportConfig, now: datetime, coming: Path) -> Sequence[Path]:
    if report.keep is None and report.keep_days is None:
        return []
    return outdated(report.pattern(), report.name, now, keep=report.keep, keep_days=report.keep_days, coming=coming)


def _keep_up(lake: LakeHandle, config: Config, now: datetime, outcome: Outcome) -> None:
    try:
        if config.keep_days is not None:
            outcome.pruned = lake.prune(_first_day(config.keep_days, now))
        if config.compact:
            outcome.merged, _ = lake.compact()
    except _FAILURES as error:
        outcome.problems.append(f"retention: {_line(error)}")


def _first_day(keep_days: int, now: datetime) -> str:
    """The first of the days that stay, in UTC as the lake's days are."""
    return (now.astimezone(UTC) - timedelta(days=keep_days)).date().isoformat()


@contextmanager
def _only_run(lake: Path) -> Iterator[None]:
    """Hold the lock of the lake's runs; the system drops it when the process dies. Raises PgtraceError at once."""
    try:
        lake.mkdir(parents=True, exist_ok=True)
        file = (lake / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise PgtraceError(f"{lake}: cannot be written ({error.strerror})") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip()
            raise PgtraceError(
                f"another run is at work on {lake}{f' ({who})' if who else ''}; nothing was done"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield
        with suppress(OSError):
            file.truncate(0)


def _line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
