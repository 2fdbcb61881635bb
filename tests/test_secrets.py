"""Passwords and the like are nowhere in a lake; with --redact, neither are constants, parameters and rows.

A case is a key in ``data/secrets.toml``: a ``text`` of a log and what is written in its place (``masked``), or the text
alone where it stays as it is.
"""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import postgast
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SAMPLES

import pgtrace
from pgtrace import registry
from pgtrace.ingest.carry import from_bytes
from pgtrace.schema import VALUE_COLUMNS
from pgtrace.secrets import mask_records, mask_unparsed, masked, may_hold

CASES = tomllib.loads((Path(__file__).parent / "data" / "secrets.toml").read_text())

#: planted in the runs that the samples are of, and how a file writes them
SECRETS = (
    "S3cr3t-Passw0rd!",
    "multi-line-secret",
    "create-secret-1",
    "dblink-secret",
    "hunter2-secret",
    "err-secret",
    "tok_live_0123456789abcdef",
    "url-secret",
    "initial-Secret#1",
    "sub-secret",
    "it''s \"secret\"",
)
AS_WRITTEN = ('it\'\'s ""secret""', "it''s \\\"secret\\\"")
#: values that are no secrets by what stands beside them
VALUES = ("param-secret-9", "someone@example.invalid", "notint", "99999999999")
#: each with the format that a server logs it in; stderr, csvlog and jsonlog of the same run, whole runs of others
SOURCES = {
    "stderr": ["pg15-mixed/postgresql.log"],
    "csvlog": ["pg15-mixed/postgresql.csv"],
    "jsonlog": ["pg15-mixed/postgresql.json"],
    "pg13": ["pg13-mixed"],
    "pg16": ["pg16-mixed"],
    "standby": ["pg17-standby"],
    "extended": ["pg18-extended"],
    "autoexplain": ["pg18-autoexplain/postgresql.json"],
    "in two lines": ["pg15-durstmt/postgresql.log"],
}


@pytest.mark.parametrize("name", CASES)
def test_a_secret_is_masked_and_nothing_else(name: str) -> None:
    case = CASES[name]
    expected = case.get("masked", case["text"])
    [[found]] = masked(pl.Series([case["text"]]))
    assert found == expected


def test_texts_are_masked_together_as_each_alone() -> None:
    texts = pl.Series("text", [case["text"] for case in CASES.values()] + [None, ""])
    expected = [case.get("masked", case["text"]) for case in CASES.values()] + [None, ""]
    [found] = masked(texts)
    assert found.to_list() == expected
    [again] = masked(found)
    assert again.to_list() == expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "masked" in case])
def test_words_that_choose_the_texts_are_in_every_text_with_a_secret(name: str) -> None:
    text = CASES[name]["text"]
    assert may_hold(pl.Series([text, text.upper(), None])).to_list() == [0, 1]


def test_sql_that_parsed_parses_when_masked() -> None:
    def parses(text: str) -> bool:
        try:
            postgast.fingerprint(text)
        except postgast.PgQueryError:
            return False
        return True

    parsed = {name: case for name, case in CASES.items() if parses(case["text"])}
    assert len(parsed) > 30
    assert [name for name, case in parsed.items() if not parses(case.get("masked", case["text"]))] == []


def test_an_error_does_not_quote_what_is_masked_in_its_statement() -> None:
    fields = dict.fromkeys(("detail", "hint", "context", "internal_query", "memory_contexts"), None)
    rows = [
        ('syntax error at or near "hunter2"', "ALTER ROLE app PASSWORD hunter2;"),
        ('unterminated quoted string at or near "\'hunter2;"', "ALTER ROLE app PASSWORD 'hunter2;"),
        ('role "app" does not exist', "ALTER ROLE app PASSWORD 'hunter2'"),
    ]
    records = pl.DataFrame([{**fields, "message": message, "statement": sql} for message, sql in rows])
    found = mask_records(records.cast(dict.fromkeys(fields, pl.String)))
    assert "hunter2" not in json.dumps(found.to_dicts())
    assert found["message"].to_list() == [
        'syntax error at or near "*****"',
        'unterminated quoted string at or near "*****"',
        'role "app" does not exist',
    ]


def test_a_secret_on_several_unparsed_lines_is_masked_on_each() -> None:
    lines = ["ALTER USER a PASSWORD 'ab", "cd", "ef' LOGIN", "ALTER USER a", "\tpassword", "\t'gh' LOGIN", "'x'"]
    frame = pl.DataFrame({"line_no": range(1, 8), "text": lines, "reason": ["?"] * 7, "near": [None] * 7})
    assert mask_unparsed(frame)["text"].to_list() == [
        "ALTER USER a PASSWORD '*****",
        "*****",
        "*****' LOGIN",
        "ALTER USER a",
        "\tpassword",
        "\t'*****' LOGIN",
        "'x'",
    ]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The samples, and a file that no format knows, which is unparsed as a whole."""
    unknown = tmp_path_factory.mktemp("unknown") / "notes.txt"
    unknown.write_text("".join(f"ALTER USER pwuser PASSWORD '{secret}';\n" for secret in SECRETS))
    return {**{name: [SAMPLES / path for path in paths] for name, paths in SOURCES.items()}, "unknown": [unknown]}


@pytest.fixture(scope="module", params=[False, True], ids=["masked", "redacted"])
def filled(
    request: pytest.FixtureRequest, inputs: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, Path]:
    """A lake of all inputs, and whether it was made with --redact."""
    is_redacted: bool = request.param
    lake = pgtrace.open(tmp_path_factory.mktemp("secrets") / "lake")
    for server, paths in inputs.items():
        results = lake.ingest(paths, server=server, redact=is_redacted)
        assert {result.status for result in results} <= {"read", "left out"}
    lake.refresh_catalog()
    return is_redacted, lake.path


def test_the_inputs_hold_what_the_lake_must_not(inputs: dict[str, list[Path]]) -> None:
    files = [
        file for path in itertools.chain(*inputs.values()) for file in ([path] if path.is_file() else path.iterdir())
    ]
    openers = {".gz": gzip.decompress, ".xz": lzma.decompress}
    texts = {file: openers.get(file.suffix, bytes)(file.read_bytes()) for file in files}
    everything = b"".join(text for file, text in texts.items() if file.suffix != ".txt")
    assert [text for text in (*SECRETS, *AS_WRITTEN, *VALUES) if text.encode() not in everything] == []
    # in every format by itself
    for suffix in (".log", ".csv", ".json"):
        own = b"".join(text for file, text in texts.items() if file.name == f"postgresql{suffix}")
        assert SECRETS[0].encode() in own


def test_no_secret_is_in_any_file_of_the_lake(filled: tuple[bool, Path]) -> None:
    is_redacted, lake = filled
    unwanted = [*SECRETS, *AS_WRITTEN, *(VALUES if is_redacted else ())]
    found = {(str(name), text) for name, content in contents(lake) for text in unwanted if text.encode() in content}
    assert found == set()


def test_what_stands_beside_a_secret_is_still_there(filled: tuple[bool, Path]) -> None:
    is_redacted, lake = filled
    everything = b"".join(content for _, content in contents(lake))
    assert b"pwuser" in everything
    assert (b"ALTER USER pwuser PASSWORD '*****'" in everything) == (not is_redacted)
    assert (b"param-secret-9" in everything) == (not is_redacted)


def test_nothing_that_may_be_a_value_is_left_in_a_redacted_lake(filled: tuple[bool, Path]) -> None:
    is_redacted, path = filled
    if not is_redacted:
        return
    lake = pgtrace.open(path)
    kept = []
    for name, table in registry.tables().items():
        for column in VALUE_COLUMNS & table.columns.keys():
            [(count,)] = lake.sql(f'select count("{column}") from "{name}"').fetchall()
            if count:
                kept.append((name, column))
    assert kept == []


def test_redaction_changes_neither_rows_nor_fingerprints(tmp_path: Path) -> None:
    """Also where an execution is put together of two lines, which compares their texts."""
    sources = {"auto_explain": "pg18-autoexplain/postgresql.log", "two lines": "pg15-durstmt/postgresql.csv"}
    lakes = {is_redacted: pgtrace.open(tmp_path / str(is_redacted)) for is_redacted in (False, True)}
    for is_redacted, lake in lakes.items():
        for server, source in sources.items():
            lake.ingest(SAMPLES / source, server=server, redact=is_redacted)
    for sql in (
        "select server, line_no, fingerprint, duration_ms, phase from statement order by all",
        "select fingerprint, query_text from query order by all",
        "select server, line_no, severity, kind from record order by all",
    ):
        assert lakes[True].sql(sql).fetchall() == lakes[False].sql(sql).fetchall()


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ({"message": 'relation "t" does not exist'}, 'relation "*****" does not exist'),
        (
            {"message": 'invalid input syntax for type integer: "a "b" c"'},
            'invalid input syntax for type integer: "*****"',
        ),
        (
            {"message": 'value "9 " 9" is out of range for type integer'},
            'value "*****" is out of range for type integer',
        ),
        ({"message": "card 4111 declined", "state_code": "P0001"}, "*****"),
        ({"message": "LOG of a function: 'x'", "error_severity": "LOG"}, "LOG of a function: '*****'"),
        (
            {"message": 'parameter "work_mem" changed to "1MB"', "error_severity": "LOG", "backend_type": "postmaster"},
            None,
        ),
        (
            {"message": "duration: 1.5 ms  execute a/b: select 'x'", "error_severity": "LOG"},
            "duration: 1.5 ms  execute a/b:",
        ),
        ({"message": "duration: 1.5 ms", "error_severity": "LOG"}, None),
        (
            {"message": "duration: 1.5 ms  plan:\nQuery Text: select 'x'\nResult  (cost=0.00..0.01 rows=1 width=4)"},
            "duration: 1.5 ms  plan:",
        ),
    ],
)
def test_a_redacted_message_keeps_its_wording(message: dict[str, str], kept: str | None, tmp_path: Path) -> None:
    fields = {
        "timestamp": "2026-11-24 06:00:00.000 UTC",
        "pid": 7,
        "session_id": "6b052e9d.7",
        "line_num": 1,
        "session_start": "2026-11-24 06:00:00 UTC",
        "txid": 0,
        "error_severity": "ERROR",
        "backend_type": "client backend",
        "query_id": 0,
    }
    (tmp_path / "a.json").write_text(json.dumps({**fields, **message}) + "\n")
    lake = pgtrace.open(tmp_path / "lake")
    lake.ingest(tmp_path / "a.json", redact=True)
    assert lake.sql("select message from record").fetchall() == [(kept or message["message"],)]


def test_messages_of_the_command_line_hold_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("2026-11-24 06:00:00 UTC [7] LOG:  statement: ALTER USER a PASSWORD 'hunter2-secret'\n" * 20)
    broken = tmp_path / "b.csv"
    broken.write_text("ALTER USER a PASSWORD 'hunter2-secret'\n" * 20)
    for number, options in enumerate(
        ([], ["--prefix", "%t:%r:%u@%d:[%p]: "], ["--log-format", "csvlog"], ["--log-format", "jsonlog"])
    ):
        command = [
            sys.executable,
            "-m",
            "pgtrace",
            "ingest",
            str(log),
            str(broken),
            *options,
            "--lake",
            f"lake{number}",
        ]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, text=True)
        assert run.stderr
        assert "hunter2" not in run.stderr + run.stdout


def contents(lake: Path) -> Iterator[tuple[str, bytes]]:
    """What every file of the lake holds, with nothing compressed."""
    for path in sorted(path for path in lake.rglob("*") if path.is_file()):
        yield str(path.relative_to(lake)), path.read_bytes()
        if path.suffix == ".parquet":
            yield f"{path.name}, uncompressed", uncompressed(path)
        if path.name == "ledger.sqlite":
            with sqlite3.connect(path) as ledger:
                blobs = ledger.execute("select source_id, carry, carry_after_tail from source").fetchall()
            for source_id, *carries in blobs:
                for table, waiting in [item for carry in carries for item in from_bytes(carry).items()]:
                    yield f"carry of {source_id} for {table}", json.dumps(waiting.to_dicts(), default=str).encode()


def uncompressed(path: Path) -> bytes:
    """Values, dictionaries and statistics of a Parquet file, all legible; and its values by themselves."""
    table = pq.read_table(path, partitioning=None)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    own = pq.read_metadata(path)
    groups = [
        own.row_group(group).column(column).statistics
        for group in range(own.num_row_groups)
        for column in range(own.num_columns)
    ]
    limits = [str((group.min, group.max)) for group in groups if group is not None and group.has_min_max]
    values = json.dumps(table.to_pylist(), default=str, ensure_ascii=False)
    return bytes(sink.getvalue().to_pybytes()) + "\n".join([*limits, values]).encode()
