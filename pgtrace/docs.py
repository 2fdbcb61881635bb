"""The pages of docs/ that are made from code: the queries from their headers, the tables from their columns.

python -m pgtrace.docs    writes them; a test compares
"""

from __future__ import annotations

from pathlib import Path

from pgtrace.query import Query, queries
from pgtrace.schema import SERVER, Table

_NOTE = "<!-- made by python -m pgtrace.docs; do not edit -->\n"
_REPEATABLE = """\
A query over the same lake gives the same rows each time, to the last digit. DuckDB's threads add fractions in the order
in which they come to them, and in another one the last digits of a sum differ. So totals are rounded to the microsecond
that the server logs (`round(fsum(…), 3)` of ms), means and shares are made of these totals, other fractions are added
in a given order or as whole numbers, and no order of rows leaves ties.
"""


def queries_page() -> str:
    """docs/queries.md."""
    parts = [_NOTE, "# The named queries\n"]
    parts.append("`pgtrace query NAME` runs one, `pgtrace query` lists them, `--set key=value` sets a parameter.\n")
    parts.append(_REPEATABLE)
    parts += [f"- [{query.name}](#{query.name}): {query.question}" for query in queries().values()]
    parts += [_query_section(query) for query in queries().values()]
    return "\n".join(parts)


def _query_section(query: Query) -> str:
    lines = [f"\n## {query.name}\n", f"{query.question}\n"]
    if query.note:
        lines.append(f"{query.note}\n")
    lines.append(f"Reads {', '.join(f'`{table}`' for table in query.reads)}.\n")
    lines += ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| {name} | {column.type} | {column.meaning} |" for name, column in query.columns.items()]
    if query.parameters:
        lines += ["", "| parameter | type | default | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {parameter.type} | {parameter.default} | {parameter.meaning} |"
            for name, parameter in query.parameters.items()
        ]
    return "\n".join(lines) + "\n"


def tables_page(tables: dict[str, Table]) -> str:
    """docs/tables.md."""
    parts = [_NOTE, "# The tables\n"]
    parts.append("Times are in UTC. Null means that the server did not say. `pgtrace schema TABLE` prints the same.\n")
    parts += [f"- [{table.name}](#{table.name}): one row per {table.one_row_per}" for table in tables.values()]
    for table in tables.values():
        parts.append(f"\n## {table.name}\n\nOne row per {table.one_row_per}.\n")
        parts += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        parts += [
            f"| {name} | {column.duckdb_type} | {column.unit or ''} | {column.meaning} |"
            for name, column in {**SERVER, **table.columns}.items()
        ]
    return "\n".join(parts) + "\n"


def main(folder: Path = Path("docs")) -> None:
    """Write the pages."""
    from pgtrace.api import described_tables

    (folder / "queries.md").write_text(queries_page())
    (folder / "tables.md").write_text(tables_page(described_tables()))


if __name__ == "__main__":
    main()
