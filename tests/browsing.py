"""A report in a browser: what is on the page, and what the browser said and asked for meanwhile."""

from pathlib import Path
from typing import Any

WAIT_MS = 60_000  # on a machine that does other things as well


class Looking:
    """A page with a report, and what the browser said and asked for meanwhile."""

    def __init__(self, browser: Any, index: Path, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | how)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: self.asked.add(request.url.split("?")[0]))
        self.page.goto(index.as_uri())
        self.page.wait_for_selector("body[data-ready]")

    def _failed(self, request: Any) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # a video that was scrolled out of sight
            self.complaints.append(f"{request.url}: {request.failure}")

    def show(self, **state: str) -> None:
        self.page.evaluate("changes => motionecho.show(changes)", state)

    def ids(self) -> list[str]:
        return list(self.page.locator(".card .id bdi").all_inner_texts())

    def table(self, selector: str) -> list[list[str]]:
        rows = self.page.locator(f"{selector} tbody tr").all()
        return [row.locator("th, td").all_inner_texts() for row in rows]


def contrast(one: list[float], two: list[float]) -> float:
    """The ratio that WCAG takes of two colours, in 0 to 255."""

    def light(color: list[float]) -> float:
        parts = [c / 255 for c in color]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)
