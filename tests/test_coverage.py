"""What the server can say is read by a table, or named in docs/untyped.md as left without one on purpose.

``data/templates_by_version.tsv`` holds message texts found inside the server programs of versions 12 to 18.
"""

from __future__ import annotations

import re
from functools import cache

import polars as pl
import pytest
from conftest import ROOT

from pgtrace.api import LakeHandle
from pgtrace.ingest.reader import read_records
from pgtrace.schema import RECORD, fitted

TEMPLATES = [
    line.split("\t")[1]
    for line in (ROOT / "tests" / "data" / "templates_by_version.tsv").read_text(encoding="utf-8").splitlines()
]
SEVERITIES = ("LOG", "WARNING", "ERROR", "FATAL")
#: where a number or a name is printed with %s
SPECIAL = {
    "duration: %s ms": "duration: 1.5 ms",
    "%s (PID %d)": "server process (PID %d)",
    "%s complete:": "restartpoint complete:",
    "%s starting:%s%s%s%s%s%s%s%s": "checkpoint starting: wal",
    "level: %d; %s: %s%s": "level: %d; ErrorContext: 8192 total in 1 blocks; 7928 free (3 chunks); 264 used",
    "duration: 1.5 ms  %s %s%s%s: %s": "duration: 1.5 ms  execute %s%s%s: %s",
}


def printed(template: str) -> str:
    """The message with something in every place of its format."""
    for start, text in SPECIAL.items():
        if template.startswith(start):
            template = text + template.removeprefix(start)
    text = re.sub(r"%X/%0?8?X", "0/16B3748", template)
    text = re.sub(r"%l?l?[dui]\.%0\dl?l?d|%\.\df", "1.123", text)
    text = re.sub(r"%0?\d*l?[Xx]", "A1", text)
    text = re.sub(r"%(?:ll|l|z|0\d)?[dui]", "5", text)
    return text.replace("%m", "Broken pipe").replace("%%", "%").replace("%c", "x").replace("%s", "word")


@cache
def kinds() -> dict[str, set[str]]:
    """By template, the tables that read it at some level."""
    rows = [(template, severity) for template in TEMPLATES for severity in SEVERITIES]
    records = pl.DataFrame(
        {
            "source_id": "a",
            "line_no": range(1, len(rows) + 1),
            "pid": 1,
            "severity": [severity for _, severity in rows],
            "message": [printed(template) for template, _ in rows],
        }
    )
    read, _ = read_records(fitted(records, RECORD.columns))
    found: dict[str, set[str]] = {template: set() for template in TEMPLATES}
    for (template, _), kind in zip(rows, read, strict=True):
        if kind not in (None, "error"):
            found[template].add(kind)
    return found


@cache
def left_out() -> tuple[str, ...]:
    page = (ROOT / "docs" / "untyped.md").read_text(encoding="utf-8").split("## ", 1)[1]
    return tuple(re.findall(r"`([^`]+)`", page))


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_message_has_a_table_or_is_left_out_on_purpose(template: str) -> None:
    assert kinds()[template] or template.startswith(left_out())


def test_nothing_is_named_as_left_out_that_does_not_exist() -> None:
    tables = ("error", "cancelled_by")
    unknown = [
        start
        for start in left_out()
        if start not in tables and not any(template.startswith(start) for template in TEMPLATES)
    ]
    assert unknown == []


def test_background_processes_have_a_kind_in_the_sample_logs(sample_lake: LakeHandle) -> None:
    [(share, records)] = sample_lake.sql(
        "select 100.0 * count(kind) / count(*), count(*) from record "
        "where severity = 'LOG' and backend_type not in ('client backend', 'not initialized')"
    ).fetchall()
    assert records > 500
    assert share >= 99.5
