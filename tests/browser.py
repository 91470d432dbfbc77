"""Chromium without a screen, driven through tests/e2e/js/browser.mjs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lines import Script
from node import SCRIPTS, node, script


class Browser:
    """A running browser."""

    def __init__(self, driver: Script) -> None:
        self._driver = driver
        self._turn = asyncio.Lock()

    async def open(
        self, origin: str, name: str, *, script: str = "", options: Mapping[str, object] = MappingProxyType({})
    ) -> Page:
        """Open the page / of an origin in a context of its own; requests to other origins are problems.

        `script` runs before the page's own; `options` are those of Playwright's newContext.
        """
        await self.do("open", origin=origin, name=name, script=script, options=dict(options))
        return Page(self, name)

    async def duplicate(self, page: Page, origin: str, name: str) -> Page:
        """Open / in a tab that a page opens, which begins with a copy of that page's sessionStorage."""
        await self.do("duplicate", origin=origin, name=name, **{"from": page.name})
        return Page(self, name)

    async def close_pages(self) -> None:
        """Close all pages and forget what they stored."""
        await self.do("close")

    async def do(self, action: str, **facts: Any) -> Any:
        """Ask the driver for something and return its answer; what Playwright refuses is an AssertionError."""
        async with self._turn:
            await self._driver.do(action, **facts)
            answer = await self._driver.event("done", "failed")
        assert answer["event"] == "done", answer["why"]
        return answer["result"]


class Page:
    """A page. Selectors are Playwright's; a method waits until it can be done, 15 s at most."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self.name = name

    async def fill(self, selector: str, text: str) -> None:
        await self._call(selector, "fill", text)

    async def press(self, selector: str, key: str) -> None:
        await self._call(selector, "press", key)

    async def click(self, selector: str) -> None:
        await self._call(selector, "click")

    async def wait(self, selector: str) -> None:
        """Wait until something that the selector finds can be seen."""
        await self._call(selector, "waitFor")

    async def text(self, selector: str) -> str:
        """Return the text of the one element that the selector finds."""
        text: str = await self._call(selector, "textContent")
        return text

    async def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that the selector finds now."""
        texts: list[str] = await self._call(selector, "allTextContents")
        return texts

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        return await self._call("", "evaluate", expression)

    async def reload(self) -> None:
        """Load the page again, as a user does."""
        await self._call("", "reload")

    async def screenshot(self, file: Path) -> None:
        await self._call("", "screenshot", {"path": str(file)})

    async def problems(self) -> list[str]:
        """Return the warnings and errors of the page's console, and the requests to other origins."""
        problems: list[str] = await self._browser.do("problems", name=self.name)
        return problems

    async def _call(self, selector: str, method: str, *args: object) -> Any:
        return await self._browser.do("call", name=self.name, selector=selector, method=method, args=args)


@asynccontextmanager
async def browser(directory: Path) -> AsyncIterator[Browser]:
    """Run Chromium until the block ends, with its data in a directory; skip the test where it cannot run."""
    async with script("browser.mjs", _chromium(), env=_environment(directory)) as driver:
        await driver.event("started")
        yield Browser(driver)
        assert await driver.end() == 0


class Chromium:
    """A Chromium for scripts of tests/e2e/js, which connect to `url`. It starts when that is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    @cached_property
    def url(self) -> str:
        """Where it listens; skips the test where it cannot run."""
        command = [node(), str(SCRIPTS / "chromium.mjs"), _chromium()]
        env = _environment(self._directory)
        self._process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        url: str = json.loads(self._process.stdout.readline())["url"]
        return url

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=20)
            assert self._process.returncode == 0


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory), "HOME": str(directory)}


def _chromium() -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is missing; to run this test: apt-get install -y --no-install-recommends chromium")
    return program
