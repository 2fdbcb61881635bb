"""Statement texts: what the mask takes out, which texts share a fingerprint, and what is known of each shape."""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.sqlmask import MARK, mask
from pgtrace.sqltext import Fingerprinter

CASES = tomllib.loads((Path(__file__).parent / "data" / "sqltext.toml").read_text(encoding="utf-8"))


def cases(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", CASES[kind], ids=lambda case: case.get("why") or case["text"][:40])


def shape_of(text: str) -> dict[str, Any]:
    fingerprints, shapes = Fingerprinter().fingerprint(pl.Series([text]))
    assert shapes["fingerprint"].to_list() == fingerprints.to_list()
    return shapes.row(0, named=True)


@cases("same")
def test_constants_leave_no_trace(case: dict[str, Any]) -> None:
    texts = pl.Series(case["texts"])
    assert mask(texts).unique().len() == 1, mask(texts).unique().to_list()
    fingerprints, shapes = Fingerprinter().fingerprint(texts)
    assert fingerprints.n_unique() == 1
    assert shapes["query_text"].to_list() == [case["query_text"]]
    assert shapes["is_parsed"].to_list() == [True]


@cases("merged")
def test_writing_does_not_change_a_fingerprint(case: dict[str, Any]) -> None:
    fingerprints, shapes = Fingerprinter().fingerprint(pl.Series(case["texts"]))
    assert fingerprints.n_unique() == 1
    assert shapes.height == 1


@cases("different")
def test_other_statements_have_other_fingerprints(case: dict[str, Any]) -> None:
    fingerprints, shapes = Fingerprinter().fingerprint(pl.Series(case["texts"]))
    assert fingerprints.n_unique() == len(case["texts"]) == shapes.height


@cases("cut")
def test_sql_that_is_not_accepted_keeps_its_masked_text(case: dict[str, Any]) -> None:
    shape = shape_of(case["text"])
    assert shape["query_text"] == case["query_text"]
    assert (shape["is_parsed"], shape["verb"], shape["relations_read"]) == (False, None, None)
    assert len(shape["fingerprint"]) == 16


@cases("shape")
def test_verb_and_relations(case: dict[str, Any]) -> None:
    shape = shape_of(case["text"])
    expected = (case["verb"], case.get("read", []), case.get("written", []))
    assert (shape["verb"], shape["relations_read"], shape["relations_written"]) == expected


def every_text() -> list[str]:
    groups = [case["texts"] for kind in ("same", "merged", "different") for case in CASES[kind]]
    single = [case["text"] for kind in ("cut", "shape") for case in CASES[kind]]
    return sorted({text for group in groups for text in group} | set(single))


@pytest.mark.parametrize("chunk", [1, 7])
def test_fingerprints_and_shapes_do_not_depend_on_chunks_or_order(chunk: int) -> None:
    texts = pl.Series(every_text())
    fingerprints, shapes = Fingerprinter().fingerprint(texts)
    other = Fingerprinter(capacity=5)
    backwards = [other.fingerprint(texts.reverse().slice(at, chunk)) for at in range(0, texts.len(), chunk)]
    assert pl.concat([part for part, _ in backwards]).reverse().to_list() == fingerprints.to_list()
    least = pl.concat([part for _, part in backwards]).group_by("fingerprint").agg(pl.col("query_text").min())
    assert least.sort("fingerprint").equals(shapes.select("fingerprint", "query_text"))


def test_repeated_texts_and_nulls_stay_in_their_rows() -> None:
    once = pl.Series(["SELECT 1", None, "BEGIN"])
    fingerprinter = Fingerprinter()
    apart, _ = fingerprinter.fingerprint(once)
    together, shapes = fingerprinter.fingerprint(pl.concat([once] * 50))
    assert together.to_list() == apart.to_list() * 50
    assert apart[1] is None
    assert shapes["query_text"].sort().to_list() == ["BEGIN", "SELECT $1"]


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_no_texts_have_no_shapes(texts: list[str | None]) -> None:
    fingerprints, shapes = Fingerprinter().fingerprint(pl.Series(texts, dtype=pl.String))
    assert fingerprints.to_list() == texts
    assert shapes.height == 0
    assert shapes.schema["relations_read"] == pl.List(pl.String)


def test_a_tree_too_deep_to_look_at_still_has_a_fingerprint() -> None:
    shape = shape_of("SELECT " + " || ".join(["a"] * 500))
    assert shape["is_parsed"] is True
    assert shape["verb"] is shape["relations_read"] is None


def test_threads_share_one_fingerprinter() -> None:
    texts = pl.Series(every_text())
    expected = Fingerprinter().fingerprint(texts)[0].to_list()
    shared = Fingerprinter()
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(shared.fingerprint(texts)[0].to_list())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


STRINGS = st.text(st.characters(exclude_characters="'\0", codec="utf-8")).map(lambda text: f"'{text}'")
NUMBERS = st.one_of(
    st.integers(0, 10**20).map(str), st.floats(0, 1e30, allow_nan=False).map(repr), st.just("0x1F"), st.just(".5")
)
CONSTANTS = st.one_of(STRINGS, NUMBERS, st.integers(1, 99).map(lambda number: f"${number}"))
SHAPES = [
    'SELECT t1.a, "b 2" FROM t1 WHERE c = {} AND "d" > {} LIMIT {}',
    "UPDATE app.hot2 SET n = n + {}, s = lower({}) WHERE id={}",
    "SELECT e1 /* it's */ FROM t WHERE x->{} = {} -- 'n'\n OR y BETWEEN {} AND 7",
]


@given(st.sampled_from(SHAPES), st.lists(CONSTANTS, min_size=6, max_size=6))
def test_whatever_the_constants_the_mask_is_one(shape: str, constants: list[str]) -> None:
    one, other = mask(pl.Series([shape.format(*constants[:3]), shape.format(*constants[3:])]))
    assert one == other
    assert one.count(MARK) == 3 + shape.count("7")


SCRAPS = st.sampled_from(
    ["'", '"', "$$", "$a$", "--", "/*", "*/", "\\", "E'", "1", "a1", " ", "\n", "(", ",", "é", MARK]
)


@given(st.lists(st.one_of(SCRAPS, st.text(max_size=3))).map("".join))
def test_any_text_at_all_has_one_fingerprint(text: str) -> None:
    """Nothing raises, and a text means the same alone as among others."""
    texts = pl.Series(["SELECT 'x'", text, "it's --", None])
    together, _ = Fingerprinter().fingerprint(texts)
    alone, shapes = Fingerprinter().fingerprint(pl.Series([text]))
    assert together[1] == alone[0]
    assert shapes.height == 1
    assert MARK not in shapes["query_text"][0]
