"""The command line: each command reads its options, calls the floor below and prints."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line. Errors are one line on stderr: exit 1 for a failure, 2 for wrong usage."""
    from pgtrace.cli.app import app
    from pgtrace.errors import PgtraceError

    try:
        app()
    except PgtraceError as error:
        print(f"pgtrace: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _no_one_reads()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _no_one_reads()  # typer has seen it first, and left with 1
    except Exception as error:
        if _is_of_sql(error):
            print(f"pgtrace: {str(error).splitlines()[0]}", file=sys.stderr)  # noqa: T201
            sys.exit(1)
        if os.environ.get("PGTRACE_TRACEBACK"):
            raise
        kind = type(error).__name__
        print(  # noqa: T201
            f"pgtrace: internal error, {kind}: {str(error).splitlines()[0] if str(error) else ''} "
            "(set PGTRACE_TRACEBACK=1 and run again for a report)",
            file=sys.stderr,
        )
        sys.exit(1)


def _no_one_reads() -> None:
    """The reader of a pipe went away (``pgtrace … | head``): nothing is wrong, and what is left is for no one."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_of_sql(error: Exception) -> bool:
    """Whether DuckDB refused a statement while its rows were fetched; it is not imported for the asking."""
    duckdb = sys.modules.get("duckdb")
    return duckdb is not None and isinstance(error, duckdb.Error)
