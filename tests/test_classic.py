"""The widgets as Colab's readers have them: ipywidgets 7 in the classic notebook. `make test-colab` runs it."""

import os
import pathlib

import ipywidgets
from browser import jupyter, open_page, small_project, wait_until
from conftest import picture
from notebook import NOTEBOOK


def test_run_all_in_the_classic_notebook(tmp_path):
    assert ipywidgets.__version__ == "7.7.1"
    small_project(tmp_path)
    shots = pathlib.Path(os.environ.get("SCREENSHOTS", tmp_path / "shots"))
    shots.mkdir(parents=True, exist_ok=True)
    with (
        jupyter(tmp_path, "notebook", "--NotebookApp.token=", f"--notebook-dir={tmp_path}") as address,
        open_page(f"{address}/notebooks/{NOTEBOOK.name}") as page,
    ):
        page.wait_for_function("window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel", timeout=60_000)
        page.wait_for_function("Jupyter.notebook.kernel.is_connected()", timeout=60_000)
        page.wait_for_timeout(1000)
        page.evaluate("Jupyter.notebook.execute_all_cells()")
        done = """() => Jupyter.notebook.get_cells().every(c => c.cell_type != 'code' || c.input_prompt_number > 0)
            || document.querySelector('.output_error')"""
        page.wait_for_function(done, timeout=300_000)
        page.wait_for_timeout(1500)
        assert page.locator(".output_error").all_inner_texts() == []
        assert page.locator(".output_stderr").all_inner_texts() == []
        assert page.locator(".output_area img").count() >= 8

        area = page.locator(".widget-vbox").first
        area.scroll_into_view_if_needed()
        image = area.locator("img")
        # strength, then the before/after divider; jQuery's sliders answer to the arrow keys
        for number, key, presses in ((0, "ArrowLeft", 5), (2, "ArrowRight", 10)):
            before = image.get_attribute("src")
            area.locator(".ui-slider-handle").nth(number).focus()
            for _ in range(presses):
                page.keyboard.press(key)
            wait_until(page, lambda seen=before: image.get_attribute("src") != seen, 30)
            page.wait_for_timeout(1500)
        before = image.get_attribute("src")
        picture(80, 60, 3).save(tmp_path / "mine.png")
        with page.expect_file_chooser() as chooser:
            area.locator("button", has_text="Your picture").click()
        chooser.value.set_files(tmp_path / "mine.png")
        wait_until(page, lambda: image.get_attribute("src") != before, 30)
        page.wait_for_timeout(1000)
        assert (tmp_path / "outputs" / "mine_snow_studio.jpg").exists()
        page.screenshot(path=shots / "classic-studio.png")
        for n, heading in enumerate(page.locator(".text_cell_render h1, .text_cell_render h2").all()):
            heading.scroll_into_view_if_needed()
            page.wait_for_timeout(200)
            page.screenshot(path=shots / f"classic-{n:02d}.png")
