"""Score `pgtrace why` on labelled incidents.

    python -m benchmarks.incidents.score OUT_DIR [--only 'vacuum-*'] [--fresh] [--without-wal]

An incident is right where the best explanation is one that its label expects, a control where nothing is blamed. Exits
with 1 where fewer than 90 % are right of either. The lake of each run is kept in OUT_DIR/NAME/lake.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

import pgtrace
from pgtrace.analysis.kinds import family_of

_ENOUGH = 0.9
_SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class Score:
    """What was said of a run. ``outcome``: right, wrong, or companion (true, but not the cause)."""

    label: dict[str, Any]
    top: dict[str, Any] | None
    outcome: str

    @property
    def is_incident(self) -> bool:
        """Whether there was something to be found."""
        return bool(self.label["expected"])

    @property
    def row(self) -> tuple[str, ...]:
        """The line of the table."""
        top = self.top or {}
        said = f"{top['process']}: {top['kind']}" if top else "nothing"
        ratios = self.label["effect"]["execution"]["ratio"]
        slower = "/".join(f"{ratios[name]:.1f}" if name in ratios else "-" for name in ("p50", "p95", "p99"))
        surely = (str(top.get("verdict", "")), str(top.get("certainty", "")))
        return (self.label["name"], self.label["cause"], slower, said, *surely, self.outcome)


def answer(process: str | None, kind: str) -> tuple[str, str]:
    """An explanation, however it is cut: the writes of a checkpoint are its doing."""
    return process or _SEVERAL, family_of(kind)


def scored(folder: Path, *, fresh: bool, wal: bool) -> Score:
    """Ask why, of one run."""
    label = json.loads((folder / "label.json").read_text())
    path = folder / "lake"
    if fresh:
        shutil.rmtree(path, ignore_errors=True)
    lake = pgtrace.open(path)
    sources = [folder / "log", *([folder / "wal"] if wal else [])]
    failed = [result for result in lake.ingest(sources, server=label["name"]) if result.status == "failed"]
    for result in failed:
        print(f"{label['name']}: {result}", file=sys.stderr)
    blamed: pl.DataFrame = lake.why().blamed
    top = blamed.row(0, named=True) if len(blamed) else None
    return Score(label, top, _outcome(label, top))


def _outcome(label: dict[str, Any], top: dict[str, Any] | None) -> str:
    if top is None:
        return "wrong" if label["expected"] else "right"
    said = answer(top["process"], top["kind"])
    for outcome, key in (("right", "expected"), ("companion", "also")):
        if said in {answer(process, kind) for process, kind in label[key]}:
            return outcome
    return "wrong"


def main() -> None:
    """Score every run below a folder, and print them."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.incidents.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="runs of such a name, as 'idle*'")
    parser.add_argument("--fresh", action="store_true", help="read the logs again")
    parser.add_argument("--without-wal", action="store_true", help="the log alone")
    options = parser.parse_args()
    folders = [path.parent for path in sorted(options.out.glob("*/label.json"))]
    chosen = [path for path in folders if not options.only or any(fnmatch(path.name, name) for name in options.only)]
    if not chosen:
        sys.exit(f"there is no run in {options.out}")
    scores = [scored(path, fresh=options.fresh, wal=not options.without_wal) for path in chosen]
    table = Table("run", "cause", "slower p50/p95/p99", "best explanation", "verdict", "certainty", "")
    for score in scores:
        table.add_row(*score.row)
    Console(width=170).print(table)
    enough = [
        _share("incidents whose best explanation is right", [one for one in scores if one.is_incident]),
        _share("controls in which nothing is blamed", [one for one in scores if not one.is_incident]),
    ]
    sys.exit(not all(enough))


def _share(what: str, scores: list[Score]) -> bool:
    """Print how many are right; returns whether they are enough."""
    if not scores:
        print(f"{what}: none were run")
        return True
    right = sum(score.outcome == "right" for score in scores)
    print(f"{what}: {right} of {len(scores)}, {right / len(scores):.0%}")
    return right >= _ENOUGH * len(scores)


if __name__ == "__main__":
    main()
