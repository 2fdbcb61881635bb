"""Old reports go: only folders that hold a report of that name and nothing else, as their manifests say."""

from __future__ import annotations

import glob
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgtrace.report import manifest
from pgtrace.report.files import remove_folder


def outdated(
    pattern: str, name: str, now: datetime, *, keep: int | None, keep_days: int | None, coming: Path
) -> list[Path]:
    """Reports of that name in folders that match ``pattern``, but for the newest ``keep`` and the last ``keep_days``.

    A report is as old as the time it was made for. ``coming`` is the folder of the one of ``now``, there already
    or not, and stays.
    """
    ages = {coming: now}
    for text in glob.glob(pattern):  # noqa: PTH207  absolute patterns too
        path = Path(text)
        content = manifest.read(path)
        if content is not None and content.get("name") == name and path not in ages:
            ages[path] = datetime.fromisoformat(content["window"]["as_of"]).astimezone(UTC)
    newest_first = sorted(ages, key=lambda path: (ages[path], path), reverse=True)
    old = set(newest_first[keep:] if keep is not None else [])
    if keep_days is not None:
        old |= {path for path, age in ages.items() if age < now - timedelta(days=keep_days)}
    return sorted(old - {coming})


def remove(path: Path) -> None:
    """Remove a report. Raises PgtraceError where its folder holds anything else."""
    manifest.check_own(path)
    remove_folder(path)
