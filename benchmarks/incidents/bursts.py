"""What is done to the server: each of these lasts for about so many seconds and returns when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .server import Server, Session


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a burst acts; what ``control`` does is not in the log."""

    server: Server
    control: Session

    def neighbour(
        self, application: str, script: str, clients: int, seconds: float, *more: str, set_: str = ""
    ) -> None:
        """Other clients run ``script`` over and over; the last one begun is waited for."""
        path = self.server.folder / f"{application}.sql"
        path.write_text(script)
        shape = ["-f", str(path), "-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds)))]
        self.server.pgbench(application, *shape, *more, options=set_).wait()


Burst = Callable[[Stage, float], None]

# Three rows to a page, with room for a fourth: a change dirties a page, and its first one since a checkpoint writes
# the page to WAL whole, compressed, which costs twenty times the change.
_WIDE = """
create table wide (id int primary key, n int not null, note text not null)
with (fillfactor = 75, autovacuum_enabled = off);
alter table wide alter note set storage plain;
insert into wide
select
    i, 0,
    left(string_agg(md5(i::text || k) || repeat(chr(65 + (i + k) % 26), 10) || left(md5(k::text), 20), ''), 1900)
from generate_series(1, {rows}) i, generate_series(1, 31) k group by i;
vacuum analyze wide;
"""
_TOUCH = r"""\set first random(1, {last})
update wide set n = n + 1 where id between :first and :first + {span} and id % 3 = 0;
"""
#: for a table that takes long to be written whole, and one that is soon
WIDE, NARROW = _WIDE.format(rows=90000), _WIDE.format(rows=9000)
TOUCH_NARROW = _TOUCH.format(last=8800, span=150)

# Bloated tables beside pgbench's, from which the mix deletes rows all over: a vacuum has work to do and takes a second.
_BESIDE = ("orders", "items", "parts", "events")
_HOT = ("pgbench_accounts", *_BESIDE)
_BLOATED = """
create table {name} (id int primary key, n int not null, note text not null) with (fillfactor = 40);
insert into {name} select i, i % 1000, md5(i::text) || md5(i::text) from generate_series(1, 1000000) i;
create index on {name} (n, id) with (fillfactor = 10);
create index on {name} (id, n) with (fillfactor = 10);
create index on {name} (note) with (fillfactor = 30);
vacuum analyze {name};
"""
_DELETE = (
    "\\set first random(1, 1000000)\n"
    "delete from {name} where id = any (array(select (:first + i * 19001) % 1000000 from generate_series(1, 100) i));\n"
)
_WAITING = "autovacuum_enabled = off, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0"
BLOATED = "".join(_BLOATED.format(name=name) for name in _BESIDE) + "".join(
    f"alter table {table} set ({_WAITING});\n" for table in _HOT
)
DELETE = "".join(_DELETE.format(name=name) for name in _BESIDE)

_VACUUMS = f"select relname, autovacuum_count from pg_stat_all_tables where relname in {_HOT} order by relname"
_AT_WORK = "select relname from pg_stat_progress_vacuum as vacuum join pg_class on pg_class.oid = vacuum.relid"

#: the archive_command works while there is no such file
NO_ARCHIVE = "no_archive"

_SORT = r"""\set first random(1, 200000)
select count(*) from (
    select aid, filler from pgbench_accounts
    where aid between :first and :first + 150000 order by md5(aid::text), filler
) as sorted;
"""
_SCAN = "select bid, count(*), sum(abalance), max(length(md5(filler))) from pgbench_accounts group by bid;\n"


def bulk_writer(stage: Stage, seconds: float) -> None:
    """Dirty many pages, at a rate that is a light load but for the checkpoints that it asks for."""
    stage.neighbour("loader", _TOUCH.format(last=89000, span=120), 2, seconds, "-R", "400")


def checkpoints(stage: Stage, seconds: float) -> None:
    """CHECKPOINT, over and over."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        stage.control.run("checkpoint")
        time.sleep(min(0.7, max(0.0, over - time.monotonic())))


def vacuums(stage: Stage, seconds: float) -> None:
    """Dead rows are made all along; autovacuum may come only now, and each table is vacuumed at least once."""
    ask = stage.control.run
    before = ask(_VACUUMS).splitlines()
    for table in _HOT:
        ask(f"alter table {table} set (autovacuum_enabled = on)")
    over, due = time.monotonic() + seconds, set(_HOT)
    # who waits for autovacuum's lock cancels it after deadlock_timeout
    ask("set deadlock_timeout = '1min'")
    while due:
        time.sleep(max(0.1, over - time.monotonic()))
        done = {line.split("|")[0] for line in set(ask(_VACUUMS).splitlines()) - set(before)}
        for table in sorted(due & done - set(ask(_AT_WORK).splitlines())):
            ask(f"alter table {table} set (autovacuum_enabled = off)")
            due.remove(table)


def lock(statement: str) -> Burst:
    """A transaction that runs ``statement`` and then is idle."""

    def hold(stage: Stage, seconds: float) -> None:
        stage.control.run(f"begin; {statement}")
        time.sleep(seconds)
        stage.control.run("commit")

    return hold


def sorts(stage: Stage, seconds: float) -> None:
    """Sorts that do not fit into work_mem, several at once."""
    stage.neighbour("report", _SORT, 4, seconds, set_="-c work_mem=64kB -c max_parallel_workers_per_gather=0")


def connections(stage: Stage, seconds: float) -> None:
    """As many short connections as twelve clients can make."""
    stage.neighbour("cron", "select 1;\n", 12, seconds, "-C")


def scans(stage: Stage, seconds: float) -> None:
    """Sequential scans with aggregation, several at once."""
    stage.neighbour("warehouse", _SCAN, 4, seconds)


def archive_failure(stage: Stage, seconds: float) -> None:
    """The archive_command fails, which slows nothing down."""
    flag = stage.server.folder / NO_ARCHIVE
    flag.touch()
    time.sleep(seconds)
    flag.unlink()
