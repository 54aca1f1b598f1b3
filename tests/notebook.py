"""The notebook as a library: its `definitions` cells, executed in order; nothing is run."""

import ast
import json
import pathlib
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "fast_style_transfer.ipynb"


def cells(path: pathlib.Path = NOTEBOOK) -> list[dict]:
    """The notebook's cells, each with its source as one string under "text"."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"text": "".join(cell["source"])} for cell in found]


def tags(cell: dict) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])


def settings(path: pathlib.Path = NOTEBOOK) -> dict:
    """The settings of the parameters cell and their defaults: {name: value}."""
    (text,) = (cell["text"] for cell in cells(path) if "parameters" in tags(cell))
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(text).body}


def with_settings(notebook: dict, **given) -> dict:
    """The same notebook (changed in place), these settings assigned last in its parameters cell."""
    for cell in notebook["cells"]:
        if "parameters" in tags(cell):
            assigned = "".join(f"\n{name} = {value!r}" for name, value in given.items())
            cell["source"] = "".join(cell["source"]) + assigned
    return notebook


def load_definitions(path: pathlib.Path = NOTEBOOK) -> types.ModuleType:
    """A module that holds what the notebook's `definitions` cells define."""
    module = types.ModuleType("fast_style_transfer")
    for cell in cells(path):
        if "definitions" in tags(cell):
            exec(compile(cell["text"], f"<{path.name}: {cell['id']}>", "exec"), module.__dict__)
    return module


def run_cell(name: str, names: dict) -> dict:
    """Execute a cell with these names at hand; returns them as it leaves them."""
    exec(next(cell["text"] for cell in cells() if cell["id"] == name), names)
    return names
