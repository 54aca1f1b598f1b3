"""What a person sees: the notebook in a real JupyterLab, driven in headless Chromium."""

import os
import pathlib
import re

import pytest
from browser import jupyter, open_page, small_project, wait_until
from conftest import picture
from notebook import NOTEBOOK

ERROR = '[data-mime-type="application/vnd.jupyter.error"]'


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab that serves a copy of the project with small settings; yields (url, folder)."""
    folder = tmp_path_factory.mktemp("lab")
    small_project(folder)
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # keep every cell in the page
    news = settings.parent / "apputils-extension"
    news.mkdir()
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    arguments = (
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    )
    with jupyter(folder, "jupyterlab", *arguments, JUPYTERLAB_SETTINGS_DIR=str(folder / "settings")) as address:
        yield f"{address}/lab/tree/{NOTEBOOK.name}", folder


@pytest.mark.browser
def test_run_all_in_jupyterlab(lab):
    url, folder = lab
    shots = pathlib.Path(os.environ.get("SCREENSHOTS", folder / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    with open_page(url) as page:
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
