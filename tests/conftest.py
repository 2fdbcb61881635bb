"""What several tests share: the sample logs, each in a lake of its own, and how a lake is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import pgtrace
from pgtrace.api import LakeHandle

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_logs"
TRUTH = Path(__file__).parent / "data" / "truth"

# the same examples each time, and no limit to how long one takes: a test fails for what was changed, not for chance or
# a busy machine. To look for new ones: pytest --hypothesis-profile=default
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")


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


@contextmanager
def held_port() -> Iterator[int]:
    """A free port of loopback for a server, which nobody else is given meanwhile.

    It is bound, so that the system gives it to no other; and nobody listens on it, so that the server may.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def truth(server: str) -> dict[str, Any]:
    """What COPY of the csvlog into PostgreSQL and SQL counted in the run that a sample is of."""
    found: dict[str, Any] = json.loads((TRUTH / f"{server}.json").read_text())
    return found
