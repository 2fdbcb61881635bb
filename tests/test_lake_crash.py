"""A writer may be killed at any moment: whoever writes next ends up with every row once, and nothing left over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from test_lake import LINES, TABLES, read_all, seen

from pgtrace.lake import Lake, batch, upkeep

#: file operations before which a writer is killed, as Python's audit hooks name them
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "sqlite3.connect"}


def work(lake: Lake, at_once: int = 4) -> None:
    read_all(lake, at_once=at_once)
    lake.compact()


def killed_at(moment: int, path: Path) -> None:
    """Do all the work, from making the lake on, but die by SIGKILL at a moment, counted from 1."""
    left = moment

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_operation(event: str, arguments: tuple[object, ...]) -> None:
        if event in OPERATIONS and str(arguments[0]).startswith(str(path)):
            count()

    sys.addaudithook(on_operation)
    for module in (batch, upkeep):
        vars(module)["reached"] = count
    work(Lake(path, TABLES))


def kill_at_every_moment(root: Path) -> None:
    """A lake in ``root`` for each moment there is, its writer killed; the last one's ran to its end."""
    for moment in range(1, 1000):
        child = os.fork()
        if child == 0:
            killed_at(moment, root / str(moment))
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Lakes whose writers were killed, in a process of its own because a fork does not copy threads."""
    root = tmp_path_factory.mktemp("killed").resolve()
    subprocess.run([sys.executable, "-W", "ignore", __file__, str(root)], check=True)
    return sorted(root.iterdir(), key=lambda path: int(path.name))[:-1]


def unfinished_batches(path: Path) -> int:
    """Batches that were recorded and not yet in place, asked of the ledger before anybody opens the lake."""
    if not (path / "ledger.sqlite").exists():
        return 0
    with closing(sqlite3.connect(path / "ledger.sqlite")) as ledger:
        tables = {name for (name,) in ledger.execute("select name from sqlite_master")}
        return int(ledger.execute("select count(*) from batch").fetchone()[0]) if "batch" in tables else 0


def test_the_next_writer_ends_up_with_every_row_once(killed: list[Path]) -> None:
    finished = 0
    for path in killed:
        finished += unfinished_batches(path)
        lake = Lake(path, TABLES)
        work(lake, at_once=3)  # a log that grew is not cut where it was cut before
        assert seen(lake) == list(LINES), path.name
        sums, problems = lake.audit()
        assert (sums["meets"].to_list(), problems) == ([True], []), path.name
        assert not lake.ledger.unfinished(), path.name
        assert not list((path / "staging").glob("*")), path.name
    assert finished > 20


@pytest.mark.parametrize("milliseconds", [5, 20, 40, 60, 90, 130])
def test_a_writer_killed_by_the_clock_loses_nothing(tmp_path: Path, milliseconds: int) -> None:
    """The moments inside SQLite and Parquet, which no hook reaches."""
    path = tmp_path / "lake"
    command = [sys.executable, "-W", "ignore", __file__, "--until-killed", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(milliseconds / 1000)
        process.kill()
    lake = Lake(path, TABLES)
    ids = {state.source_id for state in lake.ledger.sources()} | {"0000"}
    for source_id in ids:
        read_all(lake, source_id=source_id)
    assert seen(lake) == sorted(list(LINES) * len(ids))
    assert lake.audit()[1] == []


def test_writers_that_come_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "lake"
    command = [sys.executable, "-W", "ignore", __file__, "--once", str(path)]
    writers = [subprocess.Popen(command) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    lake = Lake(path, TABLES)
    assert seen(lake) == list(LINES)
    assert lake.audit()[1] == []


def test_a_writer_that_waits_is_told_for_whom(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", TABLES)
    told: list[str] = []
    command = [sys.executable, "-W", "ignore", __file__, "--hold", str(lake.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()

        def on_wait(message: str) -> None:
            told.append(message)
            holder.kill()

        with lake.writer(on_wait):
            pass
    assert len(told) == 1
    assert str(holder.pid) in told[0]


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """The other process of these tests."""
    path = Path(arguments[-1])
    if arguments[0] == "--once":
        work(Lake(path, TABLES))
    elif arguments[0] == "--hold":
        with Lake(path, TABLES).writer():
            say("held")
            signal.pause()
    elif arguments[0] == "--until-killed":
        lake = Lake(path, TABLES)
        say("begun")
        for number in range(100_000):
            read_all(lake, source_id=f"{number:04x}")
    else:
        kill_at_every_moment(path)


if __name__ == "__main__":
    main(sys.argv[1:])
