"""What a person sees: the notebook in a real JupyterLab, driven in headless Chromium."""

import os
import pathlib
import re

import pytest
from browser import jupyter, open_page, small_project, try_studio, wait_until
from notebook import NOTEBOOK
from test_notebook import CELLS, CODE, is_closed, is_folded

ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
FORMULA = ".jp-RenderedMarkdown .mjx-container, .jp-RenderedMarkdown mjx-container"
HEADINGS = ".jp-RenderedMarkdown h1, .jp-RenderedMarkdown h2"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab that serves a copy of the project with small settings; yields (url, folder)."""
    folder = tmp_path_factory.mktemp("lab")
    small_project(folder)
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # keep every cell in the page
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    news = settings.parent / "apputils-extension"
    news.mkdir()
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    arguments = (
        "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    )
    own = dict(JUPYTERLAB_SETTINGS_DIR=str(folder / "settings"))
    with jupyter(folder, "jupyterlab", *arguments, **own) as address:
        yield f"{address}/lab/tree/{NOTEBOOK.name}", folder


@pytest.mark.browser
def test_run_all_in_jupyterlab(lab):
    url, folder = lab
    shots = pathlib.Path(os.environ.get("SCREENSHOTS", folder / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    with open_page(url) as page:
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        # before that, Run asks for a kernel
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        page.wait_for_timeout(1000)
        closed = page.locator(".jp-CodeCell .jp-InputPlaceholder").count()
        assert closed == sum(is_closed(cell) for cell in CODE) > 10
        folded = [cell for cell in CELLS if is_folded(cell)]
        assert page.locator(".jp-Notebook .jp-MarkdownCell").count() == len(CELLS) - len(CODE)
        assert page.get_by_text(re.compile(r"\d+ cells hidden")).count() == len(folded) > 5
        toolbox = page.locator(".jp-Notebook .jp-CodeCell:visible .jp-InputPlaceholder")
        assert toolbox.count() < 15 < closed
        cells = ".jp-Notebook .jp-Cell"
        height = page.evaluate(f"""() => [...document.querySelectorAll('{cells}')]
            .reduce((sum, cell) => sum + cell.getBoundingClientRect().height, 0)""")
        assert height <= 20_000, f"the page, without outputs, is {height:,.0f} pixels high"
        page.get_by_text("Run", exact=True).first.click()
        page.get_by_text("Run All Cells", exact=True).click()
        prompts = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea .jp-InputPrompt")
        errors = page.locator(ERROR)
        assert prompts.count() == len(CODE) - closed  # the open ones

        def all_done() -> bool:
            run = (re.search(r"\[\d+\]", text) for text in prompts.all_inner_texts())
            return errors.count() > 0 or all(run)

        wait_until(page, all_done, 400)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        page.wait_for_timeout(1500)
        assert errors.all_inner_texts() == []
        assert page.locator(STDERR).all_inner_texts() == []
        assert page.locator(".jp-OutputArea img").count() >= 8
        assert page.locator(".jp-RenderedHTMLCommon details").count() >= 8
        assert page.locator(FORMULA).count() >= 3
        assert page.locator(".jp-RenderedMarkdown del").all_text_contents() == []
        texts = page.evaluate("""() => [...document.querySelectorAll('.jp-RenderedMarkdown')]
            .map(e => { const text = e.cloneNode(true);
                text.querySelectorAll('pre, code, mjx-container').forEach(part => part.remove());
                return text.textContent; })""")
        assert [text for text in texts if re.search("[*$]", text)] == []  # Markdown that is none
        too_wide = page.evaluate("""() => [...document.querySelectorAll('.jp-OutputArea-output')]
            .filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 80))""")
        assert too_wide == []
        video = page.locator("video").first
        video.scroll_into_view_if_needed()
        playing = "v => v.readyState >= 2 && v.videoWidth > 0"
        wait_until(page, lambda: video.evaluate(playing), 20)

        try_studio(page, folder, ".noUi-handle")
        page.screenshot(path=shots / "studio.png")
        for n, heading in enumerate(page.locator(HEADINGS).all()):
            heading.scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            page.screenshot(path=shots / f"section-{n:02d}.png")
