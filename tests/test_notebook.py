"""The notebook itself: its form, and whole runs through papermill as a reader would run it."""

import ast
import builtins
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import types
import zipfile

import imageio_ffmpeg
import nbformat
import papermill
import pytest
from helpers import make_clip, picture, probe, read
from notebook import NOTEBOOK, ROOT, cells, tags, with_settings
from publish import LIMIT, STUDIO, WIDGET, code_digest, publish
from server import serve

CELLS = cells()
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
PARAMETERS = next(cell for cell in CODE if "parameters" in tags(cell))
SETTINGS = [node.targets[0].id for node in ast.parse(PARAMETERS["text"]).body]
CLOSED = "127.0.0.1:9"  # a port on which nothing answers
SMALL = dict(
    preset="demo",
    vgg_weights="random",
    steps=4,
    batch_size=2,
    image_size=48,
    style_size=64,
    clip_duration=0.12,
    compare_iterations=0,
)


def run(notebook: pathlib.Path, folder: pathlib.Path, **parameters) -> dict:
    """Execute the notebook in `folder`; returns it, as papermill saved it (also when it stopped
    with an error)."""
    result = folder / "executed.ipynb"
    how = dict(progress_bar=False, kernel_name="python3", log_output=False)
    papermill.execute_notebook(notebook, result, parameters, cwd=folder, **how)
    return json.loads(result.read_text())


def outputs(executed: dict, kind: str | None = None) -> list[dict]:
    found = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    return [o for o in found if o["output_type"] == kind] if kind else found


def printed(executed: dict) -> str:
    return "".join("".join(o["text"]) for o in outputs(executed, "stream"))


def pictures(executed: dict) -> list[dict]:
    return [o for o in outputs(executed) if "image/jpeg" in o.get("data", {})]


def trainings(folder: pathlib.Path, style: str) -> list[pathlib.Path]:
    """The finished networks of a style: checkpoints/<style>-<six characters>/final.pth."""
    found = folder.joinpath("checkpoints").glob(f"{style}-??????/final.pth")
    return [path for path in found if re.search(r"-[0-9a-f]{6}$", path.parent.name)]


def copy_project(folder: pathlib.Path) -> None:
    """What a clone has: the samples, the ready-made networks."""
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("COCO"))
    (folder / "checkpoints").mkdir()
    for path in (ROOT / "checkpoints").glob("*.pth"):
        shutil.copy(path, folder / "checkpoints")


def without_internet(monkeypatch, folder: pathlib.Path) -> None:
    """Every address but loopback's is refused at once, and no weights lie at hand."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{CLOSED}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))


def test_every_code_cell_has_one_tag_and_an_own_id():
    known = (["parameters"], ["definitions"], ["run"])
    assert [tags(cell) for cell in CODE if tags(cell) not in known] == []
    assert sum("parameters" in tags(cell) for cell in CODE) == 1
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


def is_closed(cell: dict) -> bool:
    """Whether JupyterLab folds the cell."""
    return bool(cell["metadata"].get("jupyter", {}).get("source_hidden"))


def test_budget():
    """DESIGN.md's numbers; comments and blanks count. It wants 1,400 lines and 84,000 characters
    in all: the limits here are what there is. After the redesign it was 1,595 and 95,400; then came
    the album, the transfer lesson, half precision, and what people really bring."""
    lengths = [(cell["text"].count("\n") + 1, cell) for cell in CODE]
    first = next(n for n, cell in enumerate(CODE) if "class TransformerNet(" in cell["text"])
    figures = {
        "lines": (sum(length for length, _ in lengths), 1899),
        "characters": (sum(len(cell["text"]) for cell in CODE), 113_065),
        "the longest cell": (max(length for length, _ in lengths), 60),
        "the longest open cell": (max(n for n, cell in lengths if not is_closed(cell)), 45),
        "columns": (max(len(t) for cell in CODE for t in cell["text"].split("\n")), 100),
        "lines before the network": (sum(length for length, _ in lengths[:first]), 420),
        "settings": (len(SETTINGS), 24),
    }
    over = {name: pair for name, pair in figures.items() if pair[0] > pair[1]}
    assert not over, f"more than the budget: {over}"
    assert len(SETTINGS) == 24  # DESIGN.md's list, neither more nor fewer


def test_parameters_only_assign_plain_values(nb):
    tree = ast.parse(PARAMETERS["text"])
    assert all(
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) for node in tree.body
    )
    assert set(SETTINGS) == set(nb.SETTINGS) and len(set(SETTINGS)) == len(SETTINGS)
    for line in PARAMETERS["text"].split("\n"):  # each has its field in Colab's form
        assert line.startswith("#@") or re.fullmatch(r"\w+ = \S+  #@param .+", line), line
    given = {node.targets[0].id: node.value.value for node in tree.body}
    for has_gpu, preset in ((False, "demo"), (True, "quick")):
        assert nb.resolve_settings(given, has_gpu).preset == preset


def assigned(tree: ast.AST) -> set[str]:
    """The names that a piece of code assigns."""
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def test_definitions_only_define_and_do_not_read_settings():
    for cell in CODE:
        if "definitions" not in tags(cell):
            continue
        tree = ast.parse(cell["text"])
        allowed = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.Expr
        assert all(isinstance(node, allowed) for node in tree.body), cell["id"]
        alone = [node.value for node in tree.body if isinstance(node, ast.Expr)]
        assert all(isinstance(value, ast.Constant) for value in alone), cell["id"]
        local = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)} | assigned(tree)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        assert not read & set(SETTINGS) - local, cell["id"]


def test_names_of_the_lesson_are_born_in_the_open():
    """What an open cell reads is defined by a `definitions` cell, or assigned in an open cell."""
    known = set(dir(builtins))
    for cell in CODE:
        tree = ast.parse(cell["text"])
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        if "run" not in tags(cell):
            known |= {node.name for node in tree.body if is_scope(node)} | assigned(tree)
            imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            known |= {(n.asname or n.name).split(".")[0] for i in imports for n in i.names}
        elif not is_closed(cell):
            known |= assigned(tree)
            assert {n.id for n in names if isinstance(n.ctx, ast.Load)} <= known, cell["id"]


def test_what_a_widget_reads_is_assigned_once():
    """A callback finds the names as its cell left them, whatever cell was run again since."""
    runs = [ast.parse(cell["text"]) for cell in CODE if "run" in tags(cell)]
    for tree in runs:
        for function in filter(is_scope, tree.body):
            nodes = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            read = {node.id for node in nodes} - assigned(function)
            for name in read & assigned(tree):
                assert sum(name in assigned(other) for other in runs) == 1, name


def test_no_cell_changes_a_setting():
    """Else the settings' check, run again, would find something else than what the reader chose."""
    for cell in CODE:
        if "run" in tags(cell):
            top = ast.Module([n for n in ast.parse(cell["text"]).body if not is_scope(n)], [])
            assert not assigned(top) & set(SETTINGS), cell["id"]


def is_scope(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.ClassDef))


def test_public_functions_have_docstrings_and_hints():
    for cell in CODE:
        for node in ast.parse(cell["text"]).body:
            if not is_scope(node) or node.name.startswith("_"):
                continue
            assert ast.get_docstring(node), node.name
            if isinstance(node, ast.FunctionDef):
                plain = [a.arg for a in node.args.posonlyargs + node.args.args if not a.annotation]
                bare = set(plain) - {"source", "url", "job", "make", "frames", "handle", "losses"}
                bare -= {"on_step", "watch", "change"}  # whatever can be called, or many kinds
                assert not bare, f"{node.name}: {bare}"


def test_untrusted_input_is_handled_safely():
    source = "\n".join(cell["text"] for cell in CODE)
    assert re.findall(r"torch\.load\((?![^)]*weights_only=True)", source) == []
    assert re.findall(r"load_state_dict_from_url\((?![^)]*weights_only=True)", source) == []
    assert not re.search(
        r"\beval\(|\bexec\(|shell=True|os\.system|extractall|import pickle"
        r"|google\.colab import output",
        source.replace(".eval()", ""),
    )
    assert "from __future__" not in source  # a script made of all cells could not run


def test_each_section_speaks_english_then_korean():
    sections = [cell["text"] for cell in CELLS if cell["cell_type"] == "markdown"]
    for text in sections:
        assert text.count("<details><summary>한국어</summary>\n\n") == 1, text[:60]
        assert text.rstrip().endswith("</details>"), text[:60]
        korean = text.split("<summary>한국어</summary>")[1]
        assert len(re.findall("[가-힣]", korean)) > 40, text[:60]
        assert "니다" in korean or "세요" in korean, text[:60]
    headings = [re.search(r"^## (\d)\. ", text, re.M) for text in sections]
    assert [int(h[1]) for h in headings if h] == list(range(10))


def test_korean_is_neither_struck_through_nor_left_with_stars():
    """JupyterLab and GitHub strike what stands between two tildes of a paragraph: 3~5 ... 7~9. And
    stars between a sign and Hangul end no emphasis."""
    texts = [cell["text"] for cell in CELLS if cell["cell_type"] == "markdown"]
    texts += [path.read_text() for path in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md"))]
    for text in texts:
        plain = re.sub(r"(?s)```.*?```|`[^`\n]*`|\\~", "", text)
        assert re.findall(r".*[?!.)%\]]\*+[가-힣].*", plain) == []
        for part in re.split(r"\n\n|\n(?=[*|])|(?<=\S) \| ", plain):
            assert part.count("~") < 2, part


def test_what_may_be_skipped_is_closed():
    """Toolbox cells are one line in Colab (a form) and in JupyterLab; the lesson is open; Settings
    are a form in Colab and open in JupyterLab, where there are no forms."""
    metadata = json.loads(NOTEBOOK.read_text())["metadata"]
    assert metadata["accelerator"] == "GPU"
    assert metadata["colab"]["gpuType"] == "T4" and metadata["colab"]["toc_visible"]
    assert re.match(r"#@title \S", PARAMETERS["text"]) and not is_closed(PARAMETERS)
    for cell in CODE:
        title = re.match(r"#@title (.+)", cell["text"])
        assert (cell["metadata"].get("cellView") == "form") == bool(title), cell["id"]
        if cell is not PARAMETERS:
            assert is_closed(cell) == bool(title), cell["id"]
        if title and "definitions" in tags(cell):
            assert re.match(r"Toolbox: \S", title[1]), cell["id"]
    lesson = "TransformerNet VGG16Features gram_matrix PerceptualLoss learn_style".split()
    for name in lesson:  # what a student reads
        defined = re.compile(rf"^(class|def) {name}\b", re.M)
        assert not is_closed(next(cell for cell in CODE if defined.search(cell["text"]))), name


def is_folded(cell: dict) -> bool:
    """Whether JupyterLab shows a heading alone, without the cells that follow it."""
    return bool(cell["metadata"].get("jp-MarkdownHeadingCollapsed"))


def test_toolbox_cells_are_folded_under_their_headings():
    """Several Toolbox cells in a row are one line, in JupyterLab and in Colab. Nothing else may be
    under it: neither what a reader must see, nor the imports, whose errors tell what is missing."""
    colab = json.loads(NOTEBOOK.read_text())["metadata"]["colab"]
    folded = [cell for cell in CELLS if is_folded(cell)]
    assert colab["collapsed_sections"] == [cell["id"] for cell in folded]
    hidden = []
    for heading in folded:
        assert heading["metadata"]["id"] == heading["id"]  # Colab knows it by this
        assert heading["text"].startswith("#### Toolbox: ")
        after = CELLS[CELLS.index(heading) + 1 :]
        held = list(itertools.takewhile(lambda cell: cell["cell_type"] == "code", after))
        assert len(held) > 1, heading["id"]
        for cell in held:
            assert is_closed(cell) and tags(cell) == ["definitions"], cell["id"]
        assert re.match("#{1,4} ", after[len(held)]["text"]), heading["id"]  # here the fold ends
        hidden += held
    closed = [cell for cell in CODE if is_closed(cell) and "definitions" in tags(cell)]
    assert len(closed) - len(hidden) <= 3 and len(folded) <= 7
    assert "import torch" not in "".join(cell["text"] for cell in hidden)
    assert sum(is_closed(cell) and cell not in hidden for cell in CODE) <= 14  # lines to pass over


@pytest.fixture(scope="module")
def local_run(tmp_path_factory):
    """The notebook run in a copy of the project's folder, as a local Jupyter would."""
    folder = tmp_path_factory.mktemp("local")
    copy_project(folder)
    return folder, run(NOTEBOOK, folder, **SMALL | dict(compare_iterations=2))


@pytest.mark.colab
def test_local_run_leaves_its_results(local_run):
    folder, executed = local_run
    assert not outputs(executed, "error")
    assert len(trainings(folder, "snow")) == 1
    made = {path.name for path in (folder / "outputs").iterdir()}
    assert made >= {"losses.jpg", "gameplay_snow.jpg", "gameplay_snow.mp4", "gameplay_snow.gif"}
    assert read(folder / "outputs" / "gameplay_snow.mp4").shape == (4, 360, 640, 3)
    assert "Audio: aac" in probe(folder / "outputs" / "gameplay_snow.mp4")
    assert not [path for path in folder.rglob("*") if ".part" in path.name or ".new" in path.name]


@pytest.mark.colab
def test_local_run_shows_pictures_and_no_noise(local_run):
    _, executed = local_run
    assert len(pictures(executed)) >= 8
    html = [str(o.get("data", {}).get("text/html", "")) for o in outputs(executed)]
    assert any("video/mp4" in text for text in html)
    assert [o for o in outputs(executed, "stream") if o["name"] == "stderr"] == []
    text = printed(executed)
    assert "1,679,235" in text and "Warning" not in text and "GPU" in text
    assert "iterations from noise" in text
    pays = r"pays for itself, against (noise|the photo), (after [\d,]+ pictures|never)\."
    assert len(re.findall(pays, text)) == 2
    found = re.findall(r"Unsteadiness of (.+): [\d.]+ of 255", text)
    assert found == ["the frame", "your network"]
    assert re.search(r"gameplay_snow\.mp4: 4 frames in \d+\.\d s", text)
    assert re.search(r"begun from .*start\.pth", text)


@pytest.mark.colab
def test_local_run_can_be_published(local_run, tmp_path):
    """Bars are left out, the studio says where it is alive, no folder of this machine is named."""
    folder, executed = local_run
    page = json.loads(NOTEBOOK.read_text())
    with_settings(page, **SMALL | dict(compare_iterations=2))
    for cell in page["cells"]:
        cell["source"] = "".join(cell["source"])
    ran = json.loads(json.dumps(executed))
    ran["cells"] = [c for c in ran["cells"] if "injected-parameters" not in tags(c)]
    for cell in ran["cells"]:
        if "parameters" in tags(cell):
            cell["source"] = next(c["source"] for c in page["cells"] if c["id"] == cell["id"])
    (folder / "ran.ipynb").write_text(json.dumps(ran))
    (tmp_path / "page.ipynb").write_text(json.dumps(page))
    assert any(WIDGET in o.get("data", {}) for o in outputs(ran))
    publish(folder / "ran.ipynb", tmp_path / "page.ipynb")
    text = (tmp_path / "page.ipynb").read_text()
    published = nbformat.from_dict(json.loads(text))
    nbformat.validate(published)
    assert len(pictures(published)) == len(pictures(executed))
    assert WIDGET not in text and str(folder) not in text and "~/fast-style-transfer" in text
    plain = [o["data"] for o in outputs(published) if [*o.get("data", {})] == ["text/plain"]]
    assert [data["text/plain"] for data in plain] == [[STUDIO]]
    assert "%|" not in text


@pytest.mark.colab
def test_running_again_goes_on_from_the_checkpoint(local_run):
    folder, _ = local_run
    again = run(NOTEBOOK, folder, **SMALL)
    assert "Going on from step 4 of 4." in printed(again) and len(trainings(folder, "snow")) == 1


def test_bad_setting_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError) as stopped:
        run(NOTEBOOK, tmp_path, **SMALL | dict(image_size=-5))
    assert stopped.value.ename == "Problem" and "image_size=-5" in stopped.value.evalue
    executed = json.loads((tmp_path / "executed.ipynb").read_text())
    errors = outputs(executed, "error")
    assert len(errors) == 1 and len(errors[0]["traceback"]) == 1
    assert "\n" not in errors[0]["traceback"][0]


def test_quick_without_weights_stops_in_one_sentence(tmp_path, monkeypatch):
    """It names the file, its address and its place."""
    without_internet(monkeypatch, tmp_path)
    (tmp_path / "photos").mkdir()
    picture(80, 80).save(tmp_path / "photos" / "a.png")
    picture(64, 48, 1).save(tmp_path / "style.png")
    clip = make_clip(tmp_path / "clip.mp4", sound=False)
    mine = dict(dataset="photos", style_image="style.png", video=str(clip))
    with pytest.raises(papermill.PapermillExecutionError) as stopped:
        run(NOTEBOOK, tmp_path, **SMALL | dict(preset="quick", vgg_weights="") | mine)
    said = stopped.value.evalue
    assert stopped.value.ename == "Problem" and "\n" not in said
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in said
    assert str(tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth") in said


STANDIN_DRIVE = """
import pathlib
def mount(place, **options):
    print("Mounted at", place)
    pathlib.Path(place, "My Drive").mkdir(parents=True, exist_ok=True)
"""


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A stand-in for Colab: google.colab, a folder for /content with nothing but the notebook.
    Yields the notebook, that folder and the Drive's."""
    package = tmp_path / "site" / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from . import drive\n")
    (package / "drive.py").write_text(STANDIN_DRIVE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    content = tmp_path / "content"
    content.mkdir()
    notebook = content / NOTEBOOK.name
    notebook.write_text(NOTEBOOK.read_text().replace("/content/", f"{content}/"))
    drive = content / "gdrive" / "My Drive" / "Colab_Notebooks"
    return types.SimpleNamespace(notebook=notebook, content=content, drive=drive)


def zip_of_photos(path: pathlib.Path) -> pathlib.Path:
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(4):
            picture(120, 90, n).save(path.with_suffix(".jpg"))
            archive.write(path.with_suffix(".jpg"), f"val/{n:012d}.jpg")
    return path


@pytest.mark.colab
def test_in_colab_with_addresses(tmp_path, colab):
    """A web server on loopback, an empty folder: results and checkpoints are on the Drive. The
    next style's picture comes from pytorch/examples."""
    picture(90, 64, 7).save(tmp_path / "winter.png")
    make_clip(tmp_path / "island.mp4", seconds=1, rate="6")
    zip_of_photos(tmp_path / "photos.zip")
    shutil.copy(ROOT / "checkpoints" / "start.pth", tmp_path / "begin.pth")
    names = dict(dataset="photos.zip", style_image="winter.png", video="island.mp4")
    names["start_from"] = "begin.pth"
    files = {f"/{name}": (tmp_path / name).read_bytes() for name in names.values()}
    mosaic = "pytorch/examples/raw/main/fast_neural_style/images/style-images/mosaic.jpg"
    picture(80, 80, 9).save(tmp_path / "mosaic.jpg")
    files[f"/{mosaic}"] = (tmp_path / "mosaic.jpg").read_bytes()
    with serve(files) as server:
        text = colab.notebook.read_text()
        colab.notebook.write_text(text.replace('https://github.com/\\"', f'{server.url}/\\"'))
        given = {setting: f"{server.url}/{name}" for setting, name in names.items()}
        settings = SMALL | given | dict(clip_duration=None)
        executed = run(colab.notebook, colab.content, **settings)
    said = printed(executed)
    assert not outputs(executed, "error") and "Mounted at" in said
    assert re.search(r"begun from .*begin\.pth", said)
    assert (colab.drive / "data" / "styles" / "mosaic.jpg").read_bytes() == files[f"/{mosaic}"]
    lesson = next(cell for cell in executed["cells"] if cell["id"] == "run-transfer")
    assert len(pictures(dict(cells=[lesson]))) == 2  # the losses, the paintings
    assert len(trainings(colab.drive, "winter")) == 1
    assert read(colab.drive / "outputs" / "island_winter.mp4").shape == (6, 48, 64, 3)
    assert len([*(colab.content / "data").rglob("photos.zip")]) == 1
    assert not list(colab.drive.rglob("photos.zip"))  # large downloads stay off the Drive


@pytest.mark.colab
def test_in_colab_with_a_repository(tmp_path, colab, monkeypatch):
    """Nothing but the notebook, and the address of its repository: what a clone has comes from
    there, the style, the clip, the photos, the start of the training and the ready-made network."""
    without_internet(monkeypatch, tmp_path)
    make_clip(tmp_path / "gameplay.mp4", seconds=1, rate="6")
    zip_of_photos(tmp_path / "frames.zip")
    files = {f"/raw/data/{n}": (tmp_path / n).read_bytes() for n in ("gameplay.mp4", "frames.zip")}
    for name in ("data/styles/snow.jpg", "checkpoints/start.pth", "checkpoints/snow.pth"):
        files[f"/raw/{name}"] = (ROOT / name).read_bytes()
    with serve(files) as server:
        settings = SMALL | dict(clip_duration=None, repository=f"{server.url}/raw")
        executed = run(colab.notebook, colab.content, **settings)
    assert not outputs(executed, "error") and "Mounted at" in printed(executed)
    said = printed(executed)
    assert len(trainings(colab.drive, "snow")) == 1 and "4 photos" in said
    assert re.search(r"begun from .*start\.pth", said)
    assert read(colab.drive / "outputs" / "gameplay_snow.mp4").shape == (6, 48, 64, 3)
    assert (colab.drive / "outputs" / "gameplay_snow.jpg").exists()
    for name in ("data/gameplay.mp4", "data/styles/snow.jpg", "checkpoints/snow.pth"):
        assert (colab.drive / name).read_bytes() == files[f"/raw/{name}"]


@pytest.mark.colab
def test_in_colab_without_clip_and_internet(tmp_path, colab, monkeypatch):
    """It ends with a trained network and a painted picture; section 7 says what to set."""
    without_internet(monkeypatch, tmp_path)
    executed = run(colab.notebook, colab.content, **SMALL | dict(vgg_weights=""))
    said = printed(executed)
    assert not outputs(executed, "error") and "Mounted at" in said
    found = [*colab.drive.joinpath("checkpoints").glob("*-??????/final.pth")]
    assert len(found) == 1 and "random VGG16 weights" in said
    assert "There is no start.pth: a warm start, then" in said
    assert [p for p in (colab.drive / "outputs").glob("*.jpg") if p.name != "losses.jpg"]
    assert len(pictures(executed)) >= 8
    section = [cell["id"] for cell in executed["cells"]].index("run-video")
    assert "`video`" in printed(dict(cells=[executed["cells"][section]]))
    assert not list(colab.drive.rglob("*.mp4"))


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """`jupyter nbconvert --to script`: a program, with small settings, beside the data."""
    folder = tmp_path_factory.mktemp("script")
    copy_project(folder)
    source = with_settings(json.loads(NOTEBOOK.read_text()), **SMALL)
    (folder / "n.ipynb").write_text(json.dumps(source))
    export = "-m jupyter nbconvert --log-level=ERROR --to script n.ipynb".split()
    subprocess.run([sys.executable, *export], cwd=folder, check=True)
    return folder


def run_script(folder, steps: int, *launcher) -> str:
    """Run it with so many steps; what it says."""
    source = (folder / "n.py").read_text()
    (folder / "n.py").write_text(re.sub(r"(?m)^steps = .*$", f"steps = {steps}", source))
    command = [sys.executable, *launcher, "n.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-3000:]
    assert read(folder / "outputs" / "gameplay_snow.mp4").shape[0] == 4
    assert len(trainings(folder, "snow")) == 1
    return done.stdout


@pytest.fixture(scope="module")
def ran_alone(script):
    """What it said when it ran alone, outside of Jupyter, for one step."""
    return run_script(script, 1)


@pytest.mark.colab
def test_the_exported_script_runs_outside_jupyter(ran_alone):
    """It needs no page."""
    assert "1 of 1 steps" in ran_alone


@pytest.mark.colab
def test_the_exported_script_goes_on_in_several_processes(script, ran_alone):
    """torchrun: both train where the one left off, as section 9 tells; the first paints."""
    shutil.rmtree(script / "outputs")
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node=2".split()
    said = run_script(script, 3, *torchrun)
    assert said.count("Going on from step 1 of 3.") == 2 and "3 of 3 steps" in said


def test_the_shipped_clip_is_what_the_readme_says():
    about = probe(ROOT / "data" / "gameplay.mp4")
    assert "640x360" in about and "30 fps" in about
    clip = str(ROOT / "data" / "gameplay.mp4")
    assert imageio_ffmpeg.count_frames_and_secs(clip)[0] == 239


def test_committed_outputs_are_those_of_the_committed_code():
    notebook = json.loads(NOTEBOOK.read_text())
    digest = notebook["metadata"].get("outputs_of_code")
    assert digest == code_digest(notebook), "run `make publish`"
    assert NOTEBOOK.stat().st_size < LIMIT
    assert pictures(notebook)
    shown = outputs(notebook)
    assert not any(o["output_type"] == "error" or o.get("name") == "stderr" for o in shown)
    assert not any(WIDGET in o.get("data", {}) for o in shown)
    assert sum(o.get("data", {}).get("text/plain") == [STUDIO] for o in shown) == 1
    assert "judged by VGG16 (imagenet)" in printed(notebook)  # the page's texts speak of this run
