"""A Jupyter server over a copy of the project, and headless Chromium: what the browser tests share."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

from notebook import NOTEBOOK, ROOT, with_settings
from playwright.sync_api import sync_playwright
from test_notebook import SMALL

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


def browser_path() -> str | None:
    """Debian's Chromium or Chrome; None: the one that `playwright install chromium` brought."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def small_project(folder: pathlib.Path) -> None:
    """The notebook with small settings and without outputs, and the bundled data."""
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("COCO"))
    source = with_settings(json.loads(NOTEBOOK.read_text()), **SMALL | dict(compare_iterations=1))
    for cell in source["cells"]:
        cell.get("outputs", []).clear()
    (folder / NOTEBOOK.name).write_text(json.dumps(source))


@contextlib.contextmanager
def jupyter(folder: pathlib.Path, *arguments: str, **environment: str):
    """Start `python -m ...` in the folder, on a free port of loopback, and wait until it answers; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", *arguments, "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@contextlib.contextmanager
def open_page(url: str):
    """The page in headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(url)
        yield page
        browser.close()


def wait_until(page, condition, seconds: float) -> None:
    """Poll until condition() holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        page.wait_for_timeout(300)
