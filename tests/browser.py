"""A Jupyter server over a copy of the project, and headless Chromium: what browser tests share."""

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

from helpers import picture
from notebook import NOTEBOOK, ROOT, with_settings
from playwright.sync_api import sync_playwright
from test_notebook import SMALL, copy_project

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
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def small_project(folder: pathlib.Path) -> None:
    """The notebook with small settings and without outputs, and what a clone has beside it."""
    copy_project(folder)
    source = with_settings(json.loads(NOTEBOOK.read_text()), **SMALL | dict(compare_iterations=2))
    for cell in source["cells"]:
        cell.get("outputs", []).clear()
    (folder / NOTEBOOK.name).write_text(json.dumps(source))


@contextlib.contextmanager
def jupyter(folder: pathlib.Path, *arguments: str, **environment: str):
    """Start `python -m ...` in the folder, on a free port of loopback, and wait until it answers;
    yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(
        [sys.executable, "-m", *arguments, *here],
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


def try_studio(page, folder: pathlib.Path, handle: str) -> None:
    """Move its sliders (`handle`: what the arrow keys move), tick, choose a style, upload: each
    time before and after are painted anew, side by side; the painting of the upload is saved."""
    area = page.locator(".widget-vbox").first
    area.scroll_into_view_if_needed()
    image = area.locator("img")

    def changes(act) -> None:
        before = image.get_attribute("src")
        act()
        wait_until(page, lambda: image.get_attribute("src") != before, 60)
        page.wait_for_timeout(1500)

    def press(number: int, key: str) -> None:
        area.locator(handle).nth(number).focus()
        for _ in range(5):
            page.keyboard.press(key)

    assert area.locator(handle).count() == 2
    changes(lambda: press(0, "ArrowLeft"))  # strength
    changes(lambda: press(1, "ArrowRight"))  # stroke size
    changes(lambda: area.locator("input[type=checkbox]").click())  # keep_colors
    menu = area.locator("select")
    styles = menu.locator("option").all_inner_texts()
    ready_made = {path.stem for path in (ROOT / "checkpoints").glob("*.pth")} - {"start"}
    assert styles[0] == "yours" and {*styles[1:-1]} == ready_made and len(styles) == 10
    assert styles[-1].startswith("snow-")
    for style in ("great_wave", styles[-1]):
        changes(lambda style=style: menu.select_option(style))
        assert (folder / "outputs" / f"studio_{style}_studio.jpg").exists()
    menu.select_option("snow")
    picture(80, 60, 3).save(folder / "mine.png")

    def upload() -> None:
        with page.expect_file_chooser() as chooser:
            area.locator("button", has_text="Your picture").click()
        chooser.value.set_files(folder / "mine.png")

    page.wait_for_timeout(5000)
    changes(upload)
    saved = folder / "outputs" / "mine_snow_studio.jpg"
    wait_until(page, saved.exists, 30)
    wait_until(page, lambda: saved.name in area.inner_text(), 30)
    wide, high = image.evaluate("i => [i.naturalWidth, i.naturalHeight]")
    assert abs(wide / high - 2 * 80 / 60) < 0.02  # the photo and its painting
