"""The widgets as Colab's readers have them: ipywidgets 7 in the classic notebook. `make test-colab`
runs it."""

import os
import pathlib

import ipywidgets
import pytest
from browser import jupyter, open_page, small_project, try_studio
from notebook import NOTEBOOK

HEADINGS = ".text_cell_render h1, .text_cell_render h2"


@pytest.mark.classic
def test_run_all_in_the_classic_notebook(tmp_path):
    assert ipywidgets.__version__ == "7.7.1"
    small_project(tmp_path)
    shots = pathlib.Path(os.environ.get("SCREENSHOTS", tmp_path / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    options = ("--NotebookApp.token=", f"--notebook-dir={tmp_path}")
    with (
        jupyter(tmp_path, "notebook", *options) as address,
        open_page(f"{address}/notebooks/{NOTEBOOK.name}") as page,
    ):
        ready = "window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel"
        page.wait_for_function(ready, timeout=60_000)
        page.wait_for_function("Jupyter.notebook.kernel.is_connected()", timeout=60_000)
        # Widgets made before the page has its widget manager, and before that has heard from the
        # kernel which widgets there are, are not shown, whatever the notebook does.
        page.wait_for_function("Jupyter.notebook.kernel.widget_manager", timeout=60_000)
        page.wait_for_timeout(5000)
        page.evaluate("Jupyter.notebook.execute_all_cells()")
        done = """() => document.querySelector('.output_error') || Jupyter.notebook.get_cells()
            .every(cell => cell.cell_type != 'code' || cell.input_prompt_number > 0)"""
        page.wait_for_function(done, timeout=400_000)
        page.wait_for_timeout(1500)
        assert page.locator(".output_error").all_inner_texts() == []
        assert page.locator(".output_stderr").all_inner_texts() == []
        assert page.locator(".output_area img").count() >= 8

        try_studio(page, tmp_path, ".ui-slider-handle")  # jQuery's sliders
        page.screenshot(path=shots / "classic-studio.png")
        for n, heading in enumerate(page.locator(HEADINGS).all()):
            heading.scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            page.screenshot(path=shots / f"classic-{n:02d}.png")
