"""What several tests share: the sample logs, each in a lake of its own, and how a lake is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pgtrace
from pgtrace.api import LakeHandle

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_logs"
TRUTH = Path(__file__).parent / "data" / "truth"


@pytest.fixture(scope="session")
def sample_lake(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """All sample logs in one lake; each folder of sample_logs is a server."""
    lake = pgtrace.open(tmp_path_factory.mktemp("samples") / "lake")
    for folder in sorted(SAMPLES.iterdir()):
        lake.ingest([folder], server=folder.name)
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> LakeHandle:
    """An empty lake."""
    return pgtrace.open(tmp_path / "lake")


def truth(server: str) -> dict[str, Any]:
    """What COPY of the csvlog into PostgreSQL and SQL counted in the run that a sample is of."""
    found: dict[str, Any] = json.loads((TRUTH / f"{server}.json").read_text())
    return found
