"""What a person sees: the notebook in a real JupyterLab, driven in headless Chromium."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import picture
from notebook import NOTEBOOK, ROOT, tags
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab that serves a copy of the project with small settings; yields (url, folder)."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("COCO"))
    source = json.loads(NOTEBOOK.read_text())
    for cell in source["cells"]:
        cell.get("outputs", []).clear()
        if "parameters" in tags(cell):
            cell["source"] = "".join(cell["source"]) + "\n" + "\n".join(f"{k} = {v!r}" for k, v in SMALL.items())
    (folder / NOTEBOOK.name).write_text(json.dumps(source))
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # keep every cell in the page
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
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        prompts = ".jp-Notebook .jp-CodeCell .jp-InputPrompt"
        page.wait_for_function(
            f"""() => {{ const p = [...document.querySelectorAll('{prompts}')].map(e => e.textContent);
            return p.every(t => /\\[\\d+\\]/.test(t)) || document.querySelector('[data-mime-type="application/vnd.jupyter.error"]') }}""",
            timeout=300_000,
        )
        page.wait_for_timeout(1500)
        errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        assert errors == []
        assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts() == []
        assert page.locator(".jp-OutputArea img").count() >= 8
        assert page.locator(".jp-RenderedHTMLCommon details").count() >= 8
        assert page.locator(".jp-RenderedMarkdown .mjx-container, .jp-RenderedMarkdown mjx-container").count() >= 3
        too_wide = page.evaluate("""() => [...document.querySelectorAll('.jp-OutputArea-output')]
            .filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 80))""")
        assert too_wide == []
        video = page.locator("video").first
        video.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => { const v = document.querySelector('video'); return v.readyState >= 2 && v.videoWidth > 0 }",
            timeout=20_000,
        )

        area = page.locator(".widget-vbox").first
        area.scroll_into_view_if_needed()
        image = area.locator("img")
        changed = "before => document.querySelector('.widget-vbox img').src != before"
        for number, key in ((0, "ArrowLeft"), (2, "ArrowRight")):  # strength; then the before/after divider
            before = image.get_attribute("src")
            area.locator(".noUi-handle").nth(number).focus()
            for _ in range(10):
                page.keyboard.press(key)
            page.wait_for_function(changed, arg=before, timeout=30_000)
            page.wait_for_timeout(1500)
        before = image.get_attribute("src")
        picture(80, 60, 3).save(folder / "mine.png")
        with page.expect_file_chooser() as chooser:
            area.locator("button", has_text="Your picture").click()
        chooser.value.set_files(folder / "mine.png")
        page.wait_for_function(changed, arg=before, timeout=30_000)
        page.wait_for_timeout(1000)
        assert (folder / "outputs" / "mine_painted.jpg").exists()
        for n, heading in enumerate(page.locator(".jp-RenderedMarkdown h1, .jp-RenderedMarkdown h2").all()):
            heading.scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            page.screenshot(path=shots / f"section-{n:02d}.png")
        browser.close()
