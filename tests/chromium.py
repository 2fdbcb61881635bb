"""A real Chromium for the tests of the HTML page: what it shows, asks of the network, and writes to its console."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import held_port
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class Browser:
    """One browser. A dialog that a page opens makes the next call fail, which fails the test."""

    def __init__(self, driver: Chrome):
        self.driver: Any = driver
        self._address = ""

    def open(self, page: Path, *, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Open a page from its file and wait until its timeline, if it has one, is drawn."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.media(dark=dark)
        self._address = page.as_uri()
        self.driver.get(self._address)
        self.wait("!document.getElementById('chart') || document.getElementById('chart').dataset.drawn")

    def media(self, *, dark: bool = False, media: str = "") -> None:
        """Prefer dark or light; ``media`` may be ``print``."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, expression: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"return Boolean({expression})"):
            assert time.monotonic() < until, f"never became true: {expression}"
            time.sleep(0.05)

    def console(self) -> list[str]:
        """What the page wrote to the console, and what the browser wrote there of it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked for since the page was opened, but for the page itself and what its policy kept back."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        failed = [event["params"] for event in events if event["method"] == "Network.loadingFailed"]
        kept_back = {one["requestId"] for one in failed if one.get("blockedReason") == "csp"}
        own = [one for one in asked if one["documentURL"].startswith(self._address)]
        urls = [one["request"]["url"] for one in own if one["requestId"] not in kept_back]
        return [url for url in urls if url != self._address]

    def pdf(self) -> bytes:
        """The page as it is printed."""
        printed = self.command("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; skips the test where there is none."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    for option in [*_OPTIONS, f"--user-data-dir={profile}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.set_capability("unhandledPromptBehavior", "dismiss and notify")
    with held_port() as port:
        driven = Chrome(options=options, service=Service(driver, port=port))
        try:
            yield Browser(driven)
        finally:
            driven.quit()
