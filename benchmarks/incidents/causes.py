"""The causes: what each does to which server, and which explanation of its logs is the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import bursts
from .load import Load

#: process (None: several) and kind, as `pgtrace why` names them
Explanation = tuple[str | None, str]

_CHECKPOINTER: tuple[Explanation, ...] = tuple(
    ("checkpointer", kind) for kind in ("checkpoint", "checkpoint write", "checkpoint sync", "since redo")
)
_WAL_BURST: Explanation = (None, "WAL burst")
_HEAVY_QUERY: Explanation = ("backend", "heavy query")
_FULL_PAGES = {"wal_compression": "on", "shared_buffers": "400MB"}


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause; without a burst it is a control."""

    label: str
    burst: bursts.Burst | None
    #: what counts as the right answer; none: nothing is to be blamed
    expected: tuple[Explanation, ...] = ()
    #: true as well, but a companion of the cause
    also: tuple[Explanation, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    #: SQL before the load begins
    prepare: str = ""
    load: Load = field(default_factory=Load)
    segment_mb: int = 16
    #: how many processors the server has; None: all
    processors: int | None = None


CAUSES: dict[str, Cause] = {
    "checkpoint-storm": Cause(
        "checkpoint",
        bursts.bulk_writer,
        (*_CHECKPOINTER, _WAL_BURST),
        (_HEAVY_QUERY,),  # the bulk writer
        {**_FULL_PAGES, "max_wal_size": "64MB", "min_wal_size": "64MB", "checkpoint_completion_target": "0"},
        bursts.WIDE,
        segment_mb=4,
    ),
    "forced-checkpoint": Cause(
        "checkpoint",
        bursts.checkpoints,
        _CHECKPOINTER,
        (_WAL_BURST,),
        _FULL_PAGES,
        bursts.NARROW,
        Load(rate=110, more=((bursts.TOUCH_NARROW, 50),)),
    ),
    "vacuum": Cause(
        "vacuum",
        bursts.vacuums,
        (("autovacuum worker", "vacuum"),),
        (_WAL_BURST,),
        {
            "autovacuum_naptime": "1s",
            "autovacuum_vacuum_cost_delay": "0",
            "autovacuum_max_workers": "4",
            "maintenance_work_mem": "64MB",
            "full_page_writes": "off",  # the deletes are to be cheap
        },
        bursts.BLOATED,
        Load(more=((bursts.DELETE, 10),)),
        processors=1,
    ),
    "table-lock": Cause(
        "lock wait",
        bursts.lock("lock table pgbench_tellers in exclusive mode"),
        (("backend", "lock wait"),),
        load=Load(clients=24),
    ),
    "row-lock": Cause(
        "lock wait",
        bursts.lock("select 1 from pgbench_branches where bid <= 4 for update"),
        (("backend", "lock wait"),),
        load=Load(clients=24),
    ),
    "temp-files": Cause("temporary files", bursts.sorts, (("backend", "temporary files"), _HEAVY_QUERY), processors=1),
    "connection-storm": Cause(
        "connection storm",
        bursts.connections,
        (("backend", "connection storm"), ("postmaster", "connection storm")),
    ),
    "seq-scans": Cause("heavy query", bursts.scans, (_HEAVY_QUERY,)),
    "archive-failure": Cause(
        "archive failed",
        bursts.archive_failure,
        settings={"archive_mode": "on", "archive_command": f"test ! -e ../{bursts.NO_ARCHIVE}"},
        segment_mb=1,
    ),
    "idle": Cause("none", None),
    # checkpoints and vacuums that are so small that they slow nothing down
    "background": Cause("none", None, settings={"autovacuum_naptime": "1s", "checkpoint_timeout": "30s"}),
}
