"""Take the outputs of an executed copy into the committed notebook:
publish.py EXECUTED.ipynb NOTEBOOK.ipynb

Only outputs and execution counts move; papermill's traces and widget states stay behind. The
notebook's metadata keeps a digest of the code the outputs belong to, which a test compares with the
code in the file.
"""

import base64
import hashlib
import io
import json
import pathlib
import sys

import nbformat
import PIL.Image
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat.v4.rwbase import split_lines

LIMIT = 2_000_000  # bytes of the notebook with its outputs
LARGE = 45_000  # bytes of a picture from which it is compressed further
WIDGET = "application/vnd.jupyter.widget-view+json"
STUDIO = "The upload button and the sliders are alive in Colab and Jupyter: run this cell there."


def code_digest(notebook: dict) -> str:
    """SHA-256 of all code cells' sources."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def smaller(jpeg: str, quality: int) -> str:
    """The same picture (base64), compressed further."""
    data = io.BytesIO()
    PIL.Image.open(io.BytesIO(base64.b64decode(jpeg))).save(data, "JPEG", quality=quality)
    return base64.b64encode(data.getvalue()).decode()


def clean(output: dict, quality: int, folder: pathlib.Path) -> dict:
    """An output for a page that no kernel stands behind, and without this machine's folder."""
    output = json.loads(json.dumps(output).replace(str(folder), "~/fast-style-transfer"))
    data = output.get("data", {})
    if data.pop(WIDGET, None):
        data.clear()
        data["text/plain"] = [STUDIO]
    if len(data.get("image/jpeg", "")) > LARGE:
        data["image/jpeg"] = smaller(data["image/jpeg"], quality)
    output.pop("transient", None)
    return output


def is_bar(output: dict) -> bool:
    """Whether this is the view of a progress bar: any widget but the studio's box."""
    data = output.get("data", {})
    return WIDGET in data and not "".join(data.get("text/plain", "")).startswith("VBox(")


def publish(executed: pathlib.Path, notebook: pathlib.Path) -> None:
    """Move the outputs; raises SystemExit if the run failed, was of other code, or its outputs are
    too large."""
    ran, page = nbformat.read(executed, 4), json.loads(notebook.read_text())
    for cell in ran["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in cell["outputs"] if not is_bar(output)]
    # what was printed piece by piece: some pages would put a gap between the rows of a table
    CoalesceStreamsPreprocessor().preprocess(ran, {})
    ran = split_lines(ran)
    outputs = {cell["id"]: cell for cell in ran["cells"] if cell["cell_type"] == "code"}
    code = [(cell, outputs[cell["id"]]) for cell in page["cells"] if cell["cell_type"] == "code"]
    for cell, done in code:
        if "".join(done["source"]) != "".join(cell["source"]) or done["execution_count"] is None:
            raise SystemExit(f"{cell['id']} was not executed as it stands in {notebook}.")
        if any(output["output_type"] == "error" for output in done["outputs"]):
            raise SystemExit(f"{cell['id']} ended with an error.")
        cell["execution_count"] = done["execution_count"]
    page["metadata"]["outputs_of_code"], folder = code_digest(page), executed.resolve().parent
    for quality in (72, 60, 50):  # the best that fits
        for cell, done in code:
            cell["outputs"] = [clean(output, quality, folder) for output in done["outputs"]]
        text = json.dumps(page, indent=1, ensure_ascii=False) + "\n"
        if len(text.encode()) <= LIMIT:
            break
    if len(text.encode()) > LIMIT:
        raise SystemExit(f"The outputs are too large: {len(text.encode()):,} bytes, not {LIMIT:,}.")
    notebook.write_text(text)
    print(f"{notebook}: {len(text.encode()):,} bytes with its outputs.")


if __name__ == "__main__":
    publish(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
