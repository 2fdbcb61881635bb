"""A log as PostgreSQL writes it (%m [%p] %q%u@%d ), with effects planted in it: what pgtrace why has to find.

Half an hour of three queries, four a second. Checkpoints every two minutes last 20 seconds; ``checkpoint_times`` is how
many times longer executions take that start in one. In minute 21 a process holds a lock for nine seconds and others
wait for it, one for another in turn.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
MINUTES = 30
LOCKED_FROM, LOCKED_S = START + timedelta(minutes=21), 9.0
HOLDER, FIRST, SECOND = 901, 902, 903
QUERIES = (
    ("select * from items where id = {}", 1.0),
    ("update items set n = n + 1 where id = {}", 2.0),
    ("select \x1b[31m, count(*) from orders where day = {}", 8.0),
)


def planted(checkpoint_times: float = 4.0, *, with_lock: bool = True, seed: int = 5) -> str:
    """The log's text."""
    rng = random.Random(seed)
    lines = [*_checkpoints(), *_executions(rng, checkpoint_times)]
    if with_lock:
        lines += _lock()
    return "".join(text for _, text in sorted(lines, key=lambda line: line[0]))


def _line(at: datetime, pid: int, text: str) -> tuple[datetime, str]:
    who = "app@shop " if pid > 100 else ""
    return at, f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC [{pid}] {who}LOG:  {text}\n"


def _checkpoints() -> list[tuple[datetime, str]]:
    lines = []
    for number in range(MINUTES // 2):
        at = START + timedelta(minutes=2 * number, seconds=30)
        lines.append(_line(at, 20, "checkpoint starting: time"))
        done = (
            "checkpoint complete: wrote 120 buffers (0.7%); 0 WAL file(s) added, 0 removed, 0 recycled; "
            "write=19.500 s, sync=0.010 s, total=20.000 s; sync files=3, longest=0.002 s, average=0.001 s; "
            "distance=100 kB, estimate=100 kB"
        )
        lines.append(_line(at + timedelta(seconds=20), 20, done))
    return lines


def _executions(rng: random.Random, checkpoint_times: float) -> list[tuple[datetime, str]]:
    lines = []
    for number in range(MINUTES * 60 * 4):
        start = START + timedelta(seconds=number / 4 + rng.random() / 5)
        query, usual = QUERIES[rng.choices((0, 1, 2), (5, 3, 2))[0]]
        duration = usual * rng.lognormvariate(0, 0.4)
        second = (start - START).total_seconds() % 120
        if 30 <= second < 50:
            duration *= checkpoint_times
        end = start + timedelta(milliseconds=duration)
        text = f"duration: {duration:.3f} ms  statement: {query.format(rng.randrange(1000))}"
        lines.append(_line(end, 500 + number % 5, text))
    return lines


def _lock() -> list[tuple[datetime, str]]:
    """The holder locks the table; one waits for it, one waits for that one, and twenty for the holder, too."""
    taken = LOCKED_FROM - timedelta(seconds=0.5)
    freed = LOCKED_FROM + timedelta(seconds=LOCKED_S)
    lines = [
        _line(taken, HOLDER, "duration: 1.500 ms  statement: lock table items in access exclusive mode"),
        _line(freed, HOLDER, "duration: 0.800 ms  statement: commit"),
    ]
    waiters = [(FIRST, HOLDER, 0.0), (SECOND, FIRST, 0.3)] + [(910 + n, HOLDER, 0.3 * n) for n in range(20)]
    for pid, holder, later in waiters:
        begun = LOCKED_FROM + timedelta(seconds=later)
        what = "AccessShareLock on relation 16400 of database 16384"
        noticed = _line(begun + timedelta(seconds=1), pid, f"process {pid} still waiting for {what} after 1000.100 ms")
        detail = f"DETAIL:  Process holding the lock: {holder}. Wait queue: {pid}.\n"
        statement = f"STATEMENT:  select * from items where id = {pid}\n"
        head = noticed[1].split("LOG:  ")[0]
        lines.append((noticed[0], f"{noticed[1]}{head}{detail}{head}{statement}"))
        waited = (freed - begun).total_seconds() * 1000
        lines.append(_line(freed, pid, f"process {pid} acquired {what} after {waited:.3f} ms"))
        ended = freed + timedelta(milliseconds=1)
        text = f"duration: {waited + 1:.3f} ms  statement: select * from items where id = {pid}"
        lines.append(_line(ended, pid, text))
    return lines
