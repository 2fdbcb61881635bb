"""The HTML page as Chromium shows it: it needs no network, it fits, its timeline zooms, its tables sort."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, chromium
from conftest import SAMPLES
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import pgtrace
from pgtrace.api import LakeHandle
from pgtrace.errors import PgtraceError, UsageError
from pgtrace.report.page import write_page

SECTIONS = {
    "timeline", "causes", "queries", "checkpoints", "vacuum", "temp", "locks", "errors", "sessions", "replication",
    "wal", "server", "sources",
}  # fmt: skip


@pytest.fixture(scope="module")
def mixed_lake(tmp_path_factory: pytest.TempPathFactory) -> LakeHandle:
    """A run with something of everything, its WAL among it."""
    lake = pgtrace.open(tmp_path_factory.mktemp("page") / "lake")
    folder = SAMPLES / "pg15-mixed"
    sources = [folder / name for name in ("postgresql.log", "wal", "relations.csv.gz", "settings.csv")]
    lake.ingest(sources, server="pg15-mixed")
    return lake


@pytest.fixture(scope="module")
def page(mixed_lake: LakeHandle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_page(mixed_lake, path, timezone="Europe/Berlin") == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1024, 1920])
def test_it_opens_without_a_network_or_a_complaint_and_fits(
    browser: Browser, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.requests() == []
    assert browser.console() == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert set(browser.run("return [...document.querySelectorAll('section')].map(one => one.id)")) == SECTIONS
    paths = browser.run("return document.querySelectorAll('#chart svg path').length")
    assert paths > 300
    assert browser.run("return document.documentElement.dataset.theme") == ("dark" if dark else "light")


def test_the_page_is_small(page: Path) -> None:
    assert page.stat().st_size < 3_000_000


def shown(browser: Browser) -> str:
    return str(browser.run("return document.getElementById('shown').textContent"))


def time_labels(browser: Browser) -> list[list[str]]:
    """The labels of the axes of time: of the charts that zoom, and of the strip that does not."""
    found: list[list[str]] = browser.run(
        "return [...document.querySelectorAll('#chart .role-axis-label')]"
        ".map(axis => [...axis.querySelectorAll('text')].filter(one => one.getAttribute('opacity') !== '0')"
        ".map(one => one.textContent)).filter(texts => texts.some(one => /^\\d\\d:\\d\\d/.test(one)))"
    )
    return found


def test_dragging_on_the_strip_zooms_every_chart(browser: Browser, page: Path) -> None:
    browser.open(page, height=1200)
    zoomed, strip = time_labels(browser)
    assert zoomed == strip
    assert shown(browser) == "whole span"
    browser.run("document.getElementById('timeline').scrollIntoView()")
    svg = browser.driver.find_element("css selector", "#chart svg")
    drag = ActionChains(browser.driver).move_to_element_with_offset(svg, -200, svg.size["height"] // 2 - 38)
    drag.click_and_hold().move_by_offset(100, 0).move_by_offset(60, 0).release().perform()
    browser.wait("document.getElementById('shown').textContent.includes('2026-11-24 07:32:')")
    assert time_labels(browser)[0] != zoomed
    assert time_labels(browser)[1] == strip
    assert browser.console() == []


def test_the_timeline_zooms_by_keyboard_and_to_an_example(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.driver.find_element("css selector", "[data-zoom=in]").send_keys(Keys.ENTER)
    browser.wait("document.getElementById('shown').textContent === '2026-11-24 07:32:34 – 2026-11-24 07:33:28'")
    browser.driver.find_element("css selector", "[data-zoom=all]").send_keys(Keys.SPACE)
    browser.wait("document.getElementById('shown').textContent === 'whole span'")
    example = browser.driver.find_element("css selector", "#causes .jump")
    moment = example.text
    example.send_keys(Keys.ENTER)
    browser.wait("document.getElementById('shown').textContent.includes(' – ')")
    begin, end = shown(browser).split(" – ")
    assert begin <= moment <= end


def test_a_step_of_the_timeline_tells_its_figures(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('timeline').scrollIntoView()")
    svg = browser.driver.find_element("css selector", "#chart svg")
    from_middle = 100 - svg.size["height"] // 2
    ActionChains(browser.driver).move_to_element_with_offset(svg, -300, from_middle).perform()
    browser.wait("!document.getElementById('tip').hidden")
    words = browser.driver.find_element("id", "tip").text
    assert "executions" in words
    assert "p99" in words


def test_tables_sort_by_keyboard_and_what_is_unknown_stays_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    column = (
        "return [...document.querySelector('#vacuum table').tBodies[0].rows]"
        ".map(row => row.cells[arguments[0]].textContent)"
    )
    heads = browser.run(
        "return [...document.querySelectorAll('#vacuum table th')].slice(0, 9).map(th => th.textContent)"
    )
    removed = heads.index("Dead rows removed")
    button = browser.driver.find_elements("css selector", "#vacuum table th button")[removed]
    for way in (-1, 1):
        button.send_keys(Keys.ENTER)
        values = browser.run(column, removed)
        known = [int(value.replace(",", "")) for value in values if value != "–"]
        assert known == sorted(known, reverse=way == -1)
        assert values == [value for value in values if value != "–"] + ["–"] * values.count("–")
        sort = browser.run("return document.querySelector('#vacuum th[aria-sort]').ariaSort")
        assert sort == ("descending" if way == -1 else "ascending")
    assert "–" in values


def test_the_theme_can_be_changed_and_paper_is_always_light(browser: Browser, page: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    line = "return getComputedStyle(document.querySelector('#chart path[stroke=\"var(--p99)\"]')).stroke"
    browser.open(page, dark=True)
    dark = (browser.run(background), browser.run(line))
    browser.media(dark=True, media="print")
    assert browser.run(background) == "rgb(255, 255, 255)"
    browser.media(dark=True)
    browser.driver.find_element("id", "theme").send_keys(Keys.ENTER)
    light = (browser.run(background), browser.run(line))
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert browser.pdf().startswith(b"%PDF")
    browser.run("localStorage.clear()")


def test_the_first_stop_of_the_tab_key_skips_to_the_report(browser: Browser, page: Path) -> None:
    browser.open(page)
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.run("return document.activeElement.textContent") == "Skip to the report"
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    assert browser.run("return document.activeElement.id") == "main"


def test_it_says_what_was_asked_in_the_zone_that_was_asked_for(mixed_lake: LakeHandle, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(mixed_lake, path, since="2026-11-24 12:03", until="2026-11-24 12:03:30", timezone="Asia/Kolkata")
    text = path.read_text()
    assert ">2026-11-24 12:03:00</time> – <time" in text
    assert ">2026-11-24 12:03:30</time> · 30 s · times are Asia/Kolkata (UTC+05:30)" in text
    queries = text.split('id="queries"')[1].split('id="checkpoints"')[0]
    starts = re.findall(r">(2026-11-24 \d\d:\d\d:\d\d)</time>", queries)
    assert len(starts) > 5
    assert all("2026-11-24 12:03:00" <= start < "2026-11-24 12:03:30" for start in starts)


def test_a_span_in_which_nothing_was_logged_says_so(mixed_lake: LakeHandle, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(mixed_lake, path, since="2027-01-01", until="2027-01-02")
    browser.open(path)
    assert "cannot say which queries were slow" in browser.driver.find_element("class name", "answer").text
    assert browser.run("return document.getElementById('chart')") is None
    assert browser.console() == []


def test_an_empty_lake_is_a_page_that_says_what_is_missing(browser: Browser, lake: LakeHandle, tmp_path: Path) -> None:
    write_page(lake, tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    assert browser.console() == []
    words = browser.driver.find_element("tag name", "main").text
    assert "cannot say which queries were slow" in words
    for setting in ("log_min_duration_statement", "log_checkpoints = on", "log_temp_files = 0", "log_lock_waits = on"):
        assert setting in words
    assert browser.run("return document.getElementById('chart')") is None


def test_a_span_of_years_has_as_many_steps_as_one_of_minutes(lake: LakeHandle, tmp_path: Path) -> None:
    log = tmp_path / "years.log"
    log.write_text(
        "".join(
            f"20{year}-0{month}-01 00:00:00.000 UTC [1] LOG:  duration: {year}.5 ms  statement: select {month}\n"
            for year in range(10, 27)
            for month in range(1, 10)
        )
    )
    lake.ingest([log])
    path = tmp_path / "page.html"
    write_page(lake, path)
    text = path.read_text()
    assert 100 < text.count('"busy":') <= 500
    assert "Steps of 13 days" in text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"timezone": "Europe/Berln"}, "did you mean Europe/Berlin"),
        ({"since": "lunch"}, "'lunch' is not a time"),
        ({"since": "2026-11-25", "until": "2026-11-24"}, "is not after"),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_old_page_stays(
    lake: LakeHandle, tmp_path: Path, asked: dict[str, str], says: str
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(UsageError, match=says):
        write_page(lake, path, **asked)
    assert [(one.name, one.read_text()) for one in tmp_path.glob("*.html")] == [("page.html", "old")]


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(lake: LakeHandle, tmp_path: Path) -> None:
    with pytest.raises(PgtraceError, match=r"nowhere/page\.html: the page cannot be written"):
        write_page(lake, tmp_path / "nowhere" / "page.html")
