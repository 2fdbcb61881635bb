"""Finds the pg_waldump programs of this machine: each reads the WAL of its own major version only."""

from __future__ import annotations

import glob
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pgtrace.errors import UsageError

_PROGRAM = "pg_waldump"
#: where packages of Debian, Red Hat, Homebrew, MacPorts, Postgres.app and PostgreSQL itself put it
_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def given_program(path: str) -> str:
    """The program that was named, or the one in the folder that was. Raises UsageError where there is none."""
    program = Path(path)
    program = program / _PROGRAM if program.is_dir() else program
    if not program.is_file():
        raise UsageError(f"--pg-waldump {path}: there is no {_PROGRAM}")
    return str(program)


def programs(given: Sequence[str]) -> dict[int, str]:
    """The programs by the major version they read; those ``given`` count before others."""
    paths = [*given]
    versions: dict[int, str] = {}
    if on_path := shutil.which(_PROGRAM):
        paths.append(on_path)
    for folder in _FOLDERS:
        paths += sorted(glob.glob(f"{folder}/{_PROGRAM}"))  # noqa: PTH207  absolute patterns
    for program in paths:
        try:
            done = subprocess.run(  # noqa: S603  a program that is named or installed
                [program, "--version"], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            match = None
        else:
            match = _VERSION.search(done.stdout)
        if match:
            versions.setdefault(int(match[1]), program)
        elif program in given:
            raise UsageError(f"--pg-waldump {program}: does not run as a {_PROGRAM}")
    return versions
