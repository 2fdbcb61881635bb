"""A message type: one table, and how the messages that fill it are recognised and read.

A type lives in one file of ``parsers/messages`` as a constant ``MESSAGE = MessageType(...)``. Reading is done on
whole columns: ``starts_with`` routes (literals are some fifty times as fast as a pattern), the patterns run only
on the rows that were routed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgtrace.schema import ORIGIN, SESSION, Column, Table, fitted

if TYPE_CHECKING:
    import polars as pl

    from pgtrace.patterns import Reading


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining made of a part of the log: whole rows, and what is still open at its end.

    ``open_rows`` are those of ``waiting`` that are rows already if nothing more comes; ``waiting`` goes to the next
    call.
    """

    rows: pl.DataFrame
    open_rows: pl.DataFrame | None
    waiting: pl.DataFrame | None


@dataclass(frozen=True, slots=True)
class MessageType:
    """How one kind of server message becomes rows of one table.

    A type without ``starts_with`` takes every record of its severities, also those that another type reads. One with
    ``within`` reads, of the records of that other type, those that hold one of the texts ``contains``; they are of its
    kind then, unless ``is_part`` says that it only adds to what the other type reads.
    One with ``program`` reads all that this program (backend_type) writes, and nothing else does.
    One with ``also`` reads besides what its literals choose the records that expression holds for, whatever they say;
    it is asked of the records that no type's literals choose, and of all that failed, which then are of both types.

    ``patterns`` are searched in the message, each by itself, so their order and the lines between them do not
    matter; their named groups are columns. The first group of the first pattern must match, or the record is not of
    this type; the others are the pieces that only some versions or settings print. ``detail_patterns`` and
    ``context_patterns`` read the record's DETAIL and CONTEXT in the same way.
    ``derive`` gives expressions over the columns read so far.
    """

    table: str
    one_row_per: str
    process: str
    columns: Mapping[str, Column]
    starts_with: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    detail_patterns: tuple[str, ...] = ()
    context_patterns: tuple[str, ...] = ()
    severities: tuple[str, ...] = ("LOG",)
    #: the table of the type whose records this one reads too
    within: str | None = None
    contains: tuple[str, ...] = ()
    is_part: bool = False
    program: str | None = None
    #: of other records, those to read too; from severity, backend_type, message and context
    also: Callable[[], pl.Expr] | None = None
    #: columns copied from the record
    keeps: Mapping[str, Column] = field(default_factory=lambda: SESSION)
    derive: Callable[[], dict[str, pl.Expr]] | None = None
    #: reads records into rows itself, where patterns are not enough; same columns, any number of rows per record
    read_with: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    #: makes one row of several, also across the parts of a log: see ``Joined``
    join_with: Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame | None], Joined] | None = None
    #: columns that ``read`` gives to ``join_with`` and that are not stored
    join_columns: Mapping[str, Column] = field(default_factory=dict)
    #: SQL over the stored rows, where the table that people see is not just those
    view: str | None = None
    #: other types whose stored rows ``view`` reads, as ``{their_table}``
    view_reads: tuple[str, ...] = ()
    #: where ``view`` makes other columns than the files hold: the columns of the view
    view_columns: Mapping[str, Column] | None = None

    @property
    def stored_columns(self) -> dict[str, Column]:
        """The columns of the type's files."""
        return {**ORIGIN, **self.keeps, **self.columns}

    @property
    def as_table(self) -> Table:
        """The table that the type fills."""
        shown = self.stored_columns if self.view_columns is None else {**ORIGIN, **self.view_columns}
        return Table(
            self.table,
            self.one_row_per,
            shown,
            view=self.view,
            view_reads=self.view_reads,
            stored=self.stored_columns,
        )

    def routes(self) -> pl.Expr:
        """Whether a record goes to this type, from literals alone."""
        import polars as pl

        if self.program is not None:
            return pl.col("backend_type") == self.program
        if self.within is not None:
            # of the records that the other type takes
            return pl.any_horizontal([pl.col("message").str.contains(text, literal=True) for text in self.contains])
        by_severity = pl.col("severity").is_in(self.severities)
        if not self.starts_with:
            return by_severity
        message = pl.col("message")
        by_text = pl.any_horizontal([message.str.starts_with(literal) for literal in self.starts_with])
        by_text &= by_severity
        return by_text if self.also is None else by_text | self.also().fill_null(False)

    def read(self, records: pl.DataFrame) -> pl.DataFrame:
        """Rows of this type's table, in the records' order; by patterns, one per record that the first one fits.

        ``records`` has the columns of the record table and are those that ``routes`` chose.
        """
        if self.read_with is not None:
            rows = self.read_with(records)
        else:
            rows = self._read_patterns(records) if self.patterns else records
        if self.derive is not None:
            rows = _derived(rows, self.derive())
        return fitted(rows, {**self.stored_columns, **self.join_columns})

    def _read_patterns(self, records: pl.DataFrame) -> pl.DataFrame:
        """Few and wide steps: a call into Polars costs as much as reading some hundred rows."""
        from pgtrace.patterns import distinct_texts

        said = [
            "message",
            *(["detail"] if self.detail_patterns else []),
            *(["context"] if self.context_patterns else []),
        ]
        if self.also is not None:
            said = list(dict.fromkeys([*said, "severity", "backend_type", "context"]))
        distinct = distinct_texts(records, said)
        if distinct is None:
            return self._matched(records)
        found = self._matched(distinct)
        others = [name for name in records.columns if name in said or name not in found.columns]
        return records.select(others).join(found, on=said, how="inner", nulls_equal=True, maintain_order="left")

    def _matched(self, texts: pl.DataFrame) -> pl.DataFrame:
        """The rows that are of this type, with the columns that its patterns find."""
        import polars as pl

        from pgtrace.patterns import named_groups, with_groups

        found, readings = with_groups(texts, self._readings())
        fits = (
            pl.col("0").struct[0].is_not_null() if any(reading.place == "0" for reading in readings) else pl.lit(False)
        )
        if self.also is not None:
            fits |= self.also().fill_null(False)
        fields: dict[str, list[pl.Expr]] = {}
        for reading in readings:
            for name in named_groups([reading.pattern]):
                fields.setdefault(name, []).append(pl.col(reading.place).struct.field(name))
        places = [reading.place for reading in readings]
        names = named_groups([*self.patterns, *self.detail_patterns, *self.context_patterns])
        columns = [
            (
                _typed(pl.coalesce(fields[name]), self.columns[name])
                if name in fields
                else pl.lit(False if self.columns[name].type is bool else None, self.columns[name].polars_type)
            ).alias(name)
            for name in names
        ]
        return found.filter(fits).with_columns(columns).drop(places).collect(optimizations=pl.QueryOptFlags.none())

    def _readings(self) -> list[Reading]:
        from pgtrace.patterns import readings_of

        return readings_of(self.patterns, self.detail_patterns, self.context_patterns)


def _derived(rows: pl.DataFrame, expressions: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Each expression over the columns read so far; those that need none of the others are made in one step."""
    together: dict[str, pl.Expr] = {}
    for name, expression in expressions.items():
        if not together.keys().isdisjoint(expression.meta.root_names()):
            rows, together = rows.with_columns(**together), {}
        together[name] = expression
    return rows.with_columns(**together)


_readings: dict[tuple[object, ...], list[Reading]] = {}


def _typed(text: pl.Expr, column: Column) -> pl.Expr:
    """The matched text as the column's type: lists by the column's separator, LSNs from ``%X/%X``."""
    import polars as pl

    from pgtrace.units import Lsn

    if column.type is Lsn:
        halves = text.str.split_exact("/", 1)
        high = halves.struct.field("field_0").str.to_integer(base=16, dtype=pl.UInt64)
        low = halves.struct.field("field_1").str.to_integer(base=16, dtype=pl.UInt64)
        return high * 4294967296 + low
    if column.split is not None:
        words = pl.when(text == "").then(pl.lit([], pl.List(pl.String))).otherwise(text.str.split(column.split))
        return words.cast(column.polars_type)
    if column.type is bool:
        return text.is_not_null()
    return text.cast(column.polars_type)
