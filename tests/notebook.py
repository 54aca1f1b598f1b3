"""The notebook as a library: its `definitions` cells, executed in order, without running anything."""

import json
import pathlib
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "fast_style_transfer.ipynb"


def cells(path: pathlib.Path = NOTEBOOK) -> list[dict]:
    """The notebook's cells, each with its source as one string under "text"."""
    return [cell | {"text": "".join(cell["source"])} for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def tags(cell: dict) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])


def with_settings(notebook: dict, **settings) -> dict:
    """The same notebook (changed in place) with these settings assigned at the end of its parameters cell."""
    for cell in notebook["cells"]:
        if "parameters" in tags(cell):
            assigned = "".join(f"\n{name} = {value!r}" for name, value in settings.items())
            cell["source"] = "".join(cell["source"]) + assigned
    return notebook


def load_definitions(path: pathlib.Path = NOTEBOOK) -> types.ModuleType:
    """A module that holds what the notebook's `definitions` cells define."""
    module = types.ModuleType("fast_style_transfer")
    for cell in cells(path):
        if "definitions" in tags(cell):
            exec(compile(cell["text"], f"<{path.name}: {cell['id']}>", "exec"), module.__dict__)
    return module
