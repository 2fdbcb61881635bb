"""pgtrace.toml: what can be known to be wrong is told with file, line and nearest valid name, and nothing is done."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT

from pgtrace.config import Config, read_config
from pgtrace.errors import UsageError

SOURCE = '[[source]]\nserver = "db1"\npaths = "x.log"\n'
REPORT = '[[report]]\nname = "daily"\nout = "out/{date}"\n'
PAGE = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")


def config(folder: Path, text: str) -> Config:
    (folder / "pgtrace.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "pgtrace.toml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[lake]\npth = 'x'\n", "line 2: [lake] has no key 'pth': did you mean path?"),
        (f"{SOURCE}\n[[sources]]\nserver = 'x'\n", "line 5: the file has no key 'sources': did you mean source?"),
        ("[source]\nserver = 'x'\npaths = 'x'\n", "line 1: write it as [[source]]"),
        ("[[lake]]\npath = 'x'\n", "line 1: write it as [lake]"),
        ("lake = 'x'\n", "line 1: write it as [lake]"),
        (f"{SOURCE}{SOURCE}time_zone = 'UTC'\n", "line 7: [source] has no key 'time_zone': did you mean timezone?"),
        (f"{SOURCE}colour = 'red'\n", "line 4: [source] has no key 'colour': there are server, paths, prefix"),
        ("[[source]]\npaths = 'x'\n", "line 1: [source] needs the key 'server'"),
        ("[[source]]\nserver = 'x'\n", "line 1: [source] needs the key 'paths', or 'wal'"),
        (f"{SOURCE}redact = 'yes'\n", "line 4: redact should be true or false, not a text"),
        ("[[source]]\nserver = 5\npaths = 'x'\n", "line 2: server should be a text, not a whole number"),
        ("[[source]]\nserver = ' '\npaths = 'x'\n", "line 2: server is empty"),
        ("[[source]]\nserver = 'x'\npaths = ['a', 5]\n", "line 3: paths should be a text or a list of texts"),
        ("[[source]]\nserver = 'x'\npaths = '-'\n", "line 3: '-' is not for a scheduled run"),
        (f"{SOURCE}timezone = 'Europe/Berln'\n", "line 4: 'Europe/Berln' is not an IANA time zone: did you mean"),
        (f"{SOURCE}log_format = 'csvlogs'\n", "line 4: unknown log format 'csvlogs': did you mean csvlog?"),
        (f"{SOURCE}prefix = '%m %y'\n", "line 4: log_line_prefix '%m %y': %y is not an escape"),
        (f"{REPORT}queries = ['crashes', 'crshes']\n", "line 4: no query 'crshes': did you mean crashes"),
        (f"{REPORT}formats = ['csv', 'xlsx']\n", "line 4: 'xlsx' is not a format: there are csv, parquet, json"),
        (f"{REPORT}formats = []\n", "line 4: the report has no format"),
        (f"{REPORT}since = 'lunch'\n", "line 4: 'lunch' is not a time"),
        (f"{REPORT}until = 'lunch'\n", "line 4: 'lunch' is not a time"),
        (f"{REPORT}since = 'today'\nuntil = '-1d'\n", "line 4: until '-1d' is not after since 'today'"),
        (f"{REPORT}timezone = 'Berlin '\n", "line 4: 'Berlin ' is not an IANA time zone"),
        (f"{REPORT}keep = 0\n", "line 4: keep should be 1 or more, not 0"),
        (f"{REPORT}keep = true\n", "line 4: keep should be a whole number, not true or false"),
        (f"{REPORT}[report.set]\ntops = 3\n", "line 4: set tops: no query of the report has a parameter 'tops'"),
        (f"{REPORT}set = 3\n", "line 4: set should be a table, not a whole number"),
        (REPORT.replace("{date}", "latest") + "keep = 3\n", "line 4: keep is for reports that lie side by side"),
        (REPORT.replace("{date}", "{day}"), "line 3: out has no placeholder {day}: there are date, since, until"),
        (REPORT.replace("{date}", "{since}"), "line 3: out has {since}, and the report has no key 'since'"),
        (REPORT.replace("{date}", "{date"), "line 3: out = "),
        (REPORT.replace("{date}", "{date!q}"), "line 3: out = "),
        (REPORT.replace("{date}", "{date.__class__}"), "line 3: out has no placeholder {date.__class__}"),
        (f"{REPORT}{REPORT}", "line 5: there are two reports named 'daily'"),
        (f"{REPORT}{REPORT.replace('daily', 'x')}", "line 6: out is that of report 'daily' as well"),
        ("[[report]]\nname = 'x'\n", "line 1: [report] needs the key 'out'"),
        ("[retention]\nkeep_days = '30'\n", "line 2: keep_days should be a whole number, not a text"),
        ("[lake]\npath = 'x'\n", "has neither a [[source]] nor a [[report]]"),
        ("[lake\n", "is not TOML: "),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as told:
        config(tmp_path, text)
    assert str(told.value).startswith(f"{tmp_path}/pgtrace.toml")
    assert complaint in str(told.value)
    assert "\n" not in str(told.value)


def test_a_wrong_file_is_exit_code_2_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "pgtrace.toml").write_text(f"{SOURCE}[[report]]\nname = 'x'\nout = 'out'\nquerys = 'crashes'\n")
    run = [sys.executable, "-m", "pgtrace", "run"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    assert done.stderr == ("pgtrace: pgtrace.toml, line 7: [report] has no key 'querys': did you mean queries?\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pgtrace.toml"]
    gone = subprocess.run([*run, "x.toml"], cwd=tmp_path, capture_output=True, check=False, text=True)
    assert (gone.returncode, gone.stderr) == (2, "pgtrace: x.toml: no such file\n")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = config(tmp_path, f"{SOURCE}wal = ['wal', '/abs', '~/wal']\npg_waldump = 'bin'\n{REPORT}")
    [source], [report] = found.sources, found.reports
    assert source.paths == (f"{tmp_path}/x.log",)
    assert source.wal == (f"{tmp_path}/wal", "/abs", str(Path.home() / "wal"))
    assert source.pg_waldump == (f"{tmp_path}/bin",)
    assert (found.lake, report.out) == (tmp_path / "lake", f"{tmp_path}/out/{{date}}")


def test_days_in_the_folder_of_a_report_are_those_of_its_zone(tmp_path: Path) -> None:
    out = "{name}/{server}/{date:%Y/%m}/{since}_{until}"
    text = (
        REPORT.replace("out/{date}", out) + "since = '-1d'\nuntil = 'today'\ntimezone = 'Asia/Tokyo'\nserver = 'a/b'\n"
    )
    [report] = config(tmp_path, text).reports
    wanted = report.wanted(datetime(2026, 11, 30, 16, tzinfo=UTC))  # the first of December in Tokyo
    assert report.folder(wanted.window) == tmp_path / "daily" / "a_b" / "2026" / "12" / "2026-11-30_2026-12-01"
    assert report.pattern() == f"{tmp_path}/daily/a_b/*/*/*_*"


def test_parameters_are_given_to_all_queries_or_to_one(tmp_path: Path) -> None:
    text = f"{REPORT}queries = ['slow_statements', 'slow_queries']\n[report.set]\ntop = 5\nslow_statements.raw = true\n"
    [report] = config(tmp_path, text).reports
    given = {query.name: values for query, values in report.wanted(datetime.now(UTC)).chosen()}
    assert given == {"slow_statements": {"top": "5", "raw": "true"}, "slow_queries": {"top": "5"}}


def test_the_systemd_units_of_the_page_are_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    service, timer = (part.split("```")[0] for part in PAGE.split("```ini\n")[1:])
    (tmp_path / "pgtrace.service").write_text(service)
    (tmp_path / "pgtrace.timer").write_text(timer)
    units = [str(tmp_path / name) for name in ("pgtrace.service", "pgtrace.timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, check=False, text=True
    )
    told = [line for line in done.stderr.splitlines() if "pgtrace" in line]
    assert (done.returncode, told) == (0, [])
    calendar = subprocess.run(["systemd-analyze", "calendar", "*-*-* 06:15"], capture_output=True, check=False)
    assert calendar.returncode == 0


def test_the_airflow_dag_of_the_page_is_python() -> None:
    [dag] = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(dag))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert {"DAG", "BashOperator"} <= set(calls)
