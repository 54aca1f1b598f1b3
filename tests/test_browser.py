"""What a person sees: the notebook in a real JupyterLab, driven in headless Chromium."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import picture
from notebook import NOTEBOOK, ROOT, with_settings
from playwright.sync_api import sync_playwright
from test_notebook import SMALL

ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab that serves a copy of the project with small settings; yields (url, folder)."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("COCO"))
    source = with_settings(json.loads(NOTEBOOK.read_text()), **SMALL | dict(compare_iterations=1))
    for cell in source["cells"]:
        cell.get("outputs", []).clear()
    (folder / NOTEBOOK.name).write_text(json.dumps(source))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # keep every cell in the page
    news = settings.parent / "apputils-extension"
    news.mkdir()
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        cwd=folder,
        env=os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        yield url, folder
    finally:
        server.terminate()
        server.wait(20)


def wait_until(page, condition, seconds: float) -> None:
    """Poll until condition() holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        page.wait_for_timeout(300)


@pytest.mark.browser
def test_run_all_in_jupyterlab(lab):
    url, folder = lab
    shots = pathlib.Path(os.environ.get("SCREENSHOTS", folder / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(url)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)  # before that, Run asks for a kernel
        page.wait_for_timeout(1000)
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        prompts, errors = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt"), page.locator(ERROR)

        def all_done() -> bool:
            return errors.count() > 0 or all(re.search(r"\[\d+\]", text) for text in prompts.all_inner_texts())

        wait_until(page, all_done, 300)
        page.wait_for_timeout(1500)
        assert errors.all_inner_texts() == []
        assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts() == []
        assert page.locator(".jp-OutputArea img").count() >= 8
        assert page.locator(".jp-RenderedHTMLCommon details").count() >= 8
        assert page.locator(".jp-RenderedMarkdown .mjx-container, .jp-RenderedMarkdown mjx-container").count() >= 3
        too_wide = page.evaluate("""() => [...document.querySelectorAll('.jp-OutputArea-output')]
            .filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 80))""")
        assert too_wide == []
        video = page.locator("video").first
        video.scroll_into_view_if_needed()
        playing = "v => v.readyState >= 2 && v.videoWidth > 0"
        wait_until(page, lambda: video.evaluate(playing), 20)

        area = page.locator(".widget-vbox").first
        area.scroll_into_view_if_needed()
        image = area.locator("img")
        # strength to the middle (at 0 there is nothing to divide); then the before/after divider
        for number, key, presses in ((0, "ArrowLeft", 5), (2, "ArrowRight", 10)):
            before = image.get_attribute("src")
            area.locator(".noUi-handle").nth(number).focus()
            for _ in range(presses):
                page.keyboard.press(key)
            wait_until(page, lambda seen=before: image.get_attribute("src") != seen, 30)
            page.wait_for_timeout(1500)
        before = image.get_attribute("src")
        picture(80, 60, 3).save(folder / "mine.png")
        with page.expect_file_chooser() as chooser:
            area.locator("button", has_text="Your picture").click()
        chooser.value.set_files(folder / "mine.png")
        wait_until(page, lambda: image.get_attribute("src") != before, 30)
        page.wait_for_timeout(1000)
        assert (folder / "outputs" / "mine_snow_studio.jpg").exists()
        for n, heading in enumerate(page.locator(".jp-RenderedMarkdown h1, .jp-RenderedMarkdown h2").all()):
            heading.scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            page.screenshot(path=shots / f"section-{n:02d}.png")
        browser.close()
