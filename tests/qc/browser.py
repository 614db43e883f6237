"""A headless Chromium, spoken to in WebDriver's own JSON over HTTP; nothing but the standard library."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1300", "--disable-dev-shm-usage"]


class Browser:
    """One window."""

    def __init__(self, address: str, window: str) -> None:
        self._address = f"{address}/session/{window}"

    def open(self, page: Path) -> None:
        self._ask("POST", "/url", {"url": page.absolute().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, selector: str, across: float, down: float = 0.5) -> None:
        """Press and let go of the pointer at a place within an element, in shares of its size."""
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.x, b.y, b.width, b.height]",
            selector,
        )
        x, y = round(box[0] + across * box[2]), round(box[1] + down * box[3])
        steps = [
            {"type": "pointerMove", "duration": 0, "x": x, "y": y, "origin": "viewport"},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self._ask("POST", "/actions", {"actions": [mouse]})

    def keys(self, text: str) -> None:
        steps = [{"type": kind, "value": one} for one in text for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def complaints(self) -> list[str]:
        """What the page logged that is wrong."""
        return [one["message"] for one in self._ask("POST", "/se/log", {"type": "browser"}) if one["level"] == "SEVERE"]

    def picture(self) -> bytes:
        return base64.b64decode(self._ask("GET", "/screenshot", None))

    def _ask(self, way: str, path: str, body: Any) -> Any:
        return ask(way, self._address + path, body)


def ask(way: str, address: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=way)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()[:2000]) from error


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A window of a browser of its own; the test is skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    window = None
    try:
        for _ in range(200):
            try:
                ask("GET", f"{address}/status", None)
                break
            except (OSError, AssertionError):
                time.sleep(0.1)
        options = {
            "binary": chromium,
            "args": [*ARGUMENTS, f"--user-data-dir={folder / 'chromium'}"],
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        window = ask("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Browser(address, window)
    finally:
        if window is not None:
            ask("DELETE", f"{address}/session/{window}", None)
        process.terminate()
        process.wait(20)
