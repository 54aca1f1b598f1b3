# make run | lab | test | test-colab | publish. Everything is installed into .venv on first use;
# nothing outside the folder changes.
PYTHON ?= python3
VENV ?= .venv
COLAB := .venv-colab
BIN := $(VENV)/bin
NOTEBOOK := fast_style_transfer.ipynb
# Settings for `make run`, for example: make run ARGS="-p preset quick -p video my_clip.mp4"
ARGS ?=
READY := $(VENV)/.ready
PIP := -m pip install --quiet --disable-pip-version-check
# Shows which cell of how many runs, and for how long; libraries' warnings stay out of it.
PAPERMILL := PYTHONWARNINGS=ignore $(BIN)/papermill --kernel python3 --log-level ERROR

.PHONY: run lab test test-colab publish

$(READY): requirements.txt tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -r tests/requirements.txt
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 >/dev/null
	mkdir -p $(VENV)/etc/ipython
	echo 'c.IPKernelApp.log_level = "ERROR"' > $(VENV)/etc/ipython/ipython_kernel_config.py
	touch $@

run: $(READY)
	mkdir -p outputs
	$(PAPERMILL) $(NOTEBOOK) outputs/$(NOTEBOOK) --cwd . $(ARGS)
	$(BIN)/jupyter nbconvert --log-level=ERROR --to html outputs/$(NOTEBOOK)
	@echo "The pictures, the clip and the executed notebook (fast_style_transfer.html) are in outputs/."

lab: $(READY)
	$(BIN)/jupyter lab $(NOTEBOOK)

test: $(READY)
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/playwright install chromium
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -m "not classic"

# Whole runs and video on the versions that Colab has (tests/colab-versions.txt).
$(COLAB)/.ready: tests/colab-versions.txt
	$(PYTHON) -m venv $(COLAB)
	$(COLAB)/bin/python $(PIP) -r $< "ipykernel<6.20" papermill "nbconvert>=7.14" pytest playwright
	$(COLAB)/bin/python -m ipykernel install --sys-prefix --name python3 >/dev/null
	touch $@

ON_COLAB := $(addprefix tests/test_,notebook.py video.py classic.py)  # others import more packages
test-colab: $(COLAB)/.ready
	@command -v chromium chromium-browser google-chrome >/dev/null || $(COLAB)/bin/playwright install chromium
	PATH="$(CURDIR)/$(COLAB)/bin:$$PATH" python -m pytest -m "classic or colab" $(ON_COLAB)

# Executes the notebook from scratch and keeps the outputs in it, for the page on GitHub. It runs in
# a folder of its own: the reader's photos and trainings are neither used nor touched.
FRESH := $(VENV)/publish
publish: $(READY)
	rm -rf $(FRESH)
	mkdir -p $(FRESH)/data $(FRESH)/checkpoints
	cp -r data/frames data/styles data/gameplay.mp4 $(FRESH)/data
	cp checkpoints/*.pth $(FRESH)/checkpoints
	$(PAPERMILL) $(NOTEBOOK) $(FRESH)/$(NOTEBOOK) --cwd $(FRESH) $(ARGS)
	$(BIN)/python tests/publish.py $(FRESH)/$(NOTEBOOK) $(NOTEBOOK)
	rm -rf $(FRESH)
