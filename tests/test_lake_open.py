"""What names and killed writers do to a lake that is opened next: nothing that a reader would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import test_lake_crash
from test_lake import LINES, TABLES, read_on, seen, source

from pgtrace.errors import UsageError
from pgtrace.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", TABLES)


def test_opening_a_lake_finishes_what_a_killed_writer_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", test_lake_crash.__file__, str(tmp_path)], check=True)
    filled = 0
    for path in tmp_path.iterdir():
        lake = Lake(path, TABLES)
        read = sum(state.lines for state in lake.ledger.sources())
        assert seen(lake) == list(LINES)[:read], path.name
        filled += read > 0
    assert filled > 20


def test_a_file_name_that_is_not_utf8_is_kept_readable(lake: Lake) -> None:
    with lake.writer() as writer:
        read_on(writer, replace(source(), path=os.fsdecode(b"/var/log/caf\xe9.log")), 4)
    assert lake.connect().sql("select path from source").fetchall() == [("/var/log/caf\\udce9.log",)]


@pytest.mark.parametrize("server", ["", "x" * 300, "ü" * 50, os.fsdecode(b"caf\xe9")])
def test_a_server_that_cannot_name_a_folder_is_refused(lake: Lake, server: str) -> None:
    with lake.writer() as writer, pytest.raises(UsageError, match="--server"):
        writer.batch(source(server))
