"""Logs in another language than English (lc_messages): records are whole, levels are English, and the user is told.

``data/languages`` holds what one server wrote in each language, as stderr, csvlog and jsonlog.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import pgtrace
from pgtrace.translations import detect_language, english_line

DATA = Path(__file__).parent / "data" / "languages"
LANGUAGES = {"de": "German", "fr": "French", "ja": "Japanese", "ru": "Russian"}
FILES = [(language, ending) for language in LANGUAGES for ending in ("log", "csv", "json")]


@pytest.mark.parametrize(("language", "ending"), FILES)
def test_the_user_is_told_which_language_it_is(language: str, ending: str, tmp_path: Path) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    [result] = lake.ingest([DATA / f"{language}.{ending}"])
    assert result.unparsed == 0
    assert result.message is not None
    assert f"in {LANGUAGES[language]}" in result.message
    assert "lc_messages" in result.message
    assert lake.sql("select count(*) from error where statement like '%perform 1/0%'").fetchall() == [(1,)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_stderr_csvlog_and_jsonlog_hold_the_same_records(language: str, tmp_path: Path) -> None:
    lake = pgtrace.open(tmp_path / "lake")
    for ending in ("log", "csv", "json"):
        lake.ingest([DATA / f"{language}.{ending}"], server=ending)
    columns = "epoch_ms(logged_at), pid, severity, detail, hint, context, statement, database_name, application_name"
    rows = {
        ending: lake.sql(f"select {columns} from record where server = '{ending}' order by all").fetchall()
        for ending in ("csv", "json")
    }
    assert rows["csv"] == rows["json"]
    assert lake.sql(f"select {columns} from record where server = 'log' order by all").fetchall() == rows["csv"]
    levels = dict(lake.sql("select severity, count(*) from record where server = 'log' group by 1").fetchall())
    assert set(levels) == {"LOG", "WARNING", "ERROR"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_inside_sql_are_no_levels(language: str) -> None:
    lines = [line for line in (DATA / f"{language}.log").read_text().splitlines() if "FEHLER:  nicht" in line]
    assert lines
    for line in lines:
        assert "select 'FEHLER:  nicht', 'ERROR:  no'" in english_line(line, LANGUAGES[language])


@pytest.mark.parametrize("text", ["2026-11-24 06:00:00.000 UTC [1] LOG:  Dauer: ERREUR :  x\n", "", "\0\xff"])
def test_an_english_log_is_no_other(text: str) -> None:
    assert detect_language(text) is None
