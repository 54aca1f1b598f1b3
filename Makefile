# make run | lab | test | test-colab | publish. Everything is installed into .venv on first use; nothing outside the folder changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NOTEBOOK := fast_style_transfer.ipynb
# Settings for `make run`, for example: make run ARGS="-p preset quick -p video my_clip.mp4"
ARGS ?=
READY := $(VENV)/.ready

.PHONY: run lab test test-colab publish

$(READY): requirements.txt tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 >/dev/null
	touch $@

run: $(READY)
	mkdir -p outputs
	$(BIN)/papermill $(NOTEBOOK) outputs/$(NOTEBOOK) --no-progress-bar --cwd . --kernel python3 $(ARGS)
	$(BIN)/jupyter nbconvert --log-level=ERROR --to html outputs/$(NOTEBOOK)
	@echo "The pictures, the clip and the executed notebook (fast_style_transfer.html) are in outputs/."

lab: $(READY)
	$(BIN)/jupyter lab $(NOTEBOOK)

test: $(READY)
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/playwright install chromium
	$(BIN)/ruff check .
	$(BIN)/python -m pytest tests --ignore tests/test_classic.py

# The whole notebook on the versions that Colab has (tests/colab-versions.txt), in an environment of its own.
COLAB := .venv-colab
$(COLAB)/.ready: tests/colab-versions.txt
	$(PYTHON) -m venv $(COLAB)
	$(COLAB)/bin/python -m pip install --quiet --disable-pip-version-check -r $< "ipykernel<6.20" papermill nbconvert pytest playwright
	$(COLAB)/bin/python -m ipykernel install --sys-prefix --name python3 >/dev/null
	touch $@

test-colab: $(COLAB)/.ready
	@command -v chromium chromium-browser google-chrome >/dev/null || $(COLAB)/bin/playwright install chromium
	PATH="$(CURDIR)/$(COLAB)/bin:$$PATH" python -m pytest tests/test_notebook.py tests/test_classic.py -k "local or colab or script or classic"

# Executes the notebook from scratch and keeps the outputs in it, for the page on GitHub.
publish: $(READY)
	mkdir -p outputs
	$(BIN)/papermill $(NOTEBOOK) outputs/$(NOTEBOOK) --no-progress-bar --cwd . --kernel python3 -p resume False $(ARGS)
	$(BIN)/python tests/publish.py outputs/$(NOTEBOOK) $(NOTEBOOK)
