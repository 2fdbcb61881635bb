"""A log whose texts try to be HTML and JavaScript: on the page they stay texts, with the page's policy and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, chromium

import pgtrace
from pgtrace.report.page import write_page
from pgtrace.report.page.markup import tag, text, visible
from pgtrace.report.page.shell import json_text
from pgtrace.report.page.sql import sql_cell

EVIL = "window.hostile=1,alert(1)"
TAG = f"<img src=x onerror={EVIL}>"
SCRIPT = f"</script><script>{EVIL}</script>"
ATTRIBUTE = f"'\\\" onmouseover={EVIL} autofocus onfocus={EVIL} x='"
UNSEEN = "a\u2028b\u2029c\u202ed\u200be\ufeff"
PREFIX = "%m [%p] %q%u@%d/%a "


def log_lines() -> Iterator[str]:
    """A stderr log in which every text that the page shows is hostile."""
    name = TAG.replace(" ", "\u00a0")  # names stand between blanks in the prefix
    who = f"{name}@{name}/{SCRIPT} "

    def at(second: int) -> str:
        return f"2026-11-24 06:{second // 60:02d}:{second % 60:02d}.000 UTC"

    texts = [
        f'select "{SCRIPT}" from "{TAG}"',
        f'select "{UNSEEN}", "]]>", "<!--", "--!>" from "{ATTRIBUTE}"',
        f'select "{"<svg onload=alert(2)>" * 4000}"',
        f"selec <iframe srcdoc='{SCRIPT}'> {TAG}",
        f'select {{{{constructor.constructor("{EVIL}")()}}}} from "javascript:{EVIL}"',
    ]
    for number in range(40):
        for pid, sql in enumerate(texts, 100):
            yield f"{at(number)} [{pid}] {who}LOG:  duration: {number % 7 + 1}00.5 ms  statement: {sql}"
    relation = f"shop.public.{TAG}{SCRIPT}"
    for second in (41, 45):
        yield f'{at(second)} [7] LOG:  automatic vacuum of table "{relation}": index scans: 0'
        yield "\tpages: 0 removed, 1 remain, 1 scanned (100.00% of total)"
        yield "\ttuples: 1 removed, 2 remain, 0 are dead but not yet removable"
        yield "\tsystem usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.50 s"
    yield f"{at(46)} [8] LOG:  checkpoint starting: {TAG}"
    yield f'{at(47)} [100] {who}LOG:  temporary file: path "base/pgsql_tmp/{TAG}", size 123456'
    yield f"{at(47)} [100] {who}STATEMENT:  {texts[0]}"
    yield f"{at(48)} [101] {who}LOG:  process 101 still waiting for ShareLock on {TAG}{SCRIPT} after 1000.1 ms"
    yield f"{at(48)} [101] {who}DETAIL:  Process holding the lock: 100. Wait queue: 101."
    yield f"{at(48)} [101] {who}STATEMENT:  {texts[1]}"
    yield f'{at(49)} [102] {who}ERROR:  column "{TAG}" does not exist {SCRIPT} at character 8'
    yield f"{at(49)} [102] {who}STATEMENT:  {texts[3]}"
    yield f'{at(50)} [9] LOG:  parameter "{TAG}" changed to "{SCRIPT}"'
    yield f"{at(51)} [9] LOG:  server process (PID 100) was terminated by signal 9: {TAG}"
    yield f"{at(51)} [9] DETAIL:  Failed process was running: {texts[0]}"
    yield f"{at(52)} [10] LOG:  archive command failed with exit code 1"
    yield f"{at(52)} [10] DETAIL:  The failed archive command was: cp {TAG} {SCRIPT}"
    yield f"{at(53)} [103] LOG:  connection received: host={TAG} port=5"
    yield f"{at(53)} [103] {who}LOG:  connection authorized: user={name} database={name} application_name={SCRIPT}"
    yield f"{at(54)} [103] {who}FATAL:  terminating connection due to {TAG}"
    yield f"{at(55)} [104] {who}LOG:  duration: 9.5 ms  statement: select \x00\x07\x1b[31m {TAG}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    log = folder / f"{TAG}.log"
    log.write_text(f"{SCRIPT}\n" + "\n".join(log_lines()) + "\n", newline="")
    lake = pgtrace.open(folder / "lake")
    [result] = lake.ingest([log], prefix=PREFIX, server="hostile")
    assert (result.status, result.unparsed) == ("read", 1)
    write_page(lake, folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def without_policy(page: Path) -> Path:
    whole = page.read_text()
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", whole, count=1)
    assert bare != whole
    path = page.with_name("bare.html")
    path.write_text(bare)
    return path


@pytest.mark.parametrize("with_policy", [True, False])
def test_texts_stay_texts(browser: Browser, page: Path, with_policy: bool) -> None:
    browser.open(page if with_policy else without_policy(page))
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    # what reacts to the pointer or to focus, were it there
    browser.run(
        "for (const one of document.querySelectorAll('main *')) {"
        " one.dispatchEvent(new Event('mouseover', { bubbles: true })); one.dispatchEvent(new Event('focus')); }"
    )
    assert browser.run("return window.hostile") is None
    assert browser.console() == []
    assert browser.requests() == []
    foreign = browser.run(
        "return [...document.querySelectorAll('img, iframe, object, embed, base, link, form, [srcdoc]')]"
        ".map(one => one.outerHTML).filter(html => html !== '<form class=\"vega-bindings\"></form>')"
    )
    assert foreign == []
    handlers = browser.run(
        "return [...document.querySelectorAll('*')].flatMap(one => [...one.attributes])"
        ".filter(one => one.name.startsWith('on') || /javascript:/i.test(one.name === 'href' ? one.value : ''))"
        ".map(one => one.name)"
    )
    assert handlers == []
    assert browser.run("return document.scripts.length") == 5  # theme, two of data, Vega, page


def test_they_are_there_to_be_read(browser: Browser, page: Path) -> None:
    browser.open(page)
    words = browser.run("return document.body.textContent")
    for section in ("queries", "vacuum", "temp", "locks", "errors", "sessions", "server", "sources"):
        shown = browser.run("return document.getElementById(arguments[0]).textContent", section)
        assert "onerror=window.hostile" in shown or "<script>window.hostile" in shown, section
    assert "⟨U+202E⟩" in words
    assert "⟨U+2028⟩" in words
    assert not re.search("[\u2028\u2029\u202e\u200b\ufeff\x00\x07\x1b]", words)
    assert page.stat().st_size < 3_000_000


def test_the_timeline_tells_a_hostile_name_as_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    lanes = browser.run("return JSON.parse(document.getElementById('chart-data').textContent).lanes")
    assert any(TAG in tip for lane in lanes for tip in lane["tip"].values())
    assert browser.run("return document.querySelectorAll('#chart svg path').length") > 50


def test_the_policy_keeps_out_what_the_escaping_might_let_through(browser: Browser, page: Path) -> None:
    whole = page.read_text()
    path = page.with_name("leaky.html")
    path.write_text(whole.replace("</main>", f"{TAG}<script>{EVIL}</script></main>", 1))
    browser.open(path)
    assert browser.run("return document.images.length") == 1
    assert browser.run("return window.hostile") is None
    assert browser.requests() == []
    assert any("Content Security Policy" in message for message in browser.console())


@pytest.mark.parametrize("value", [SCRIPT, TAG, ATTRIBUTE, UNSEEN, "<!--", "&lt;", "\x00", "\ud800"])
def test_pieces(value: str) -> None:
    for piece in (text(value), tag("p", text(value), title=value), sql_cell(value)):
        inner = re.sub(r'<(/?)(p|details|summary|code|pre)((?: (?:title|class|dir|tabindex)="[^"<>]*")*)>', "", piece)
        assert not re.search("[<>\u2028\u2029\u202e\u200b\ufeff\x00]", inner)
        piece.encode()
    assert not re.search("[<>&\u2028\u2029]", json_text({"a": [value.encode(errors="replace").decode()]}))


def test_a_long_text_is_cut_with_a_note_of_its_length() -> None:
    assert visible("x" * 5000, longest=10) == "x" * 10 + " … (5,000 characters)"
    assert visible("שלום", longest=10) == "שלום"  # right to left is no attack
    assert len(sql_cell("select " + "a, " * 1_000_000)) < 10_000
