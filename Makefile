# Two commands matter: `make demo` and `make test`. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_ARGS ?=
# Three workers on two cores: tests wait for servers and processes. A file stays with one worker and shares its fixtures;
# the long ones come first in the order of their names, and not last as those with few tests would.
TEST_ARGS ?= --numprocesses=3 --dist=loadfile --no-loadscope-reorder -m "not storm"

.PHONY: venv demo test storm lint image-steps image-trial fuzz bench accuracy benchmarks docs pictures words lock clean

venv: $(STAMP)

# pdqhash is built from source: its build requirements are installed first, pinned and hashed,
# and build isolation is switched off so that nothing unpinned takes part.
$(STAMP): pyproject.toml requirements.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Hashwarden needs Python 3.11 or newer; set PYTHON=/path/to/python3.11 and run make again."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-build.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/hashwarden demo $(DEMO_ARGS)

test: $(STAMP) lint
	$(BIN)/python -m pytest $(TEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The steps of the image (docker/build.sh), run in a temporary folder: downloads and compiles for a minute or two.
image-steps: $(STAMP)
	HASHWARDEN_IMAGE_STEPS=1 $(BIN)/python -m pytest tests/image

# The image itself, without Docker: built by buildah, each role run by crun against the embedded servers. Needs root and
# Debian's packages buildah, crun and debootstrap; BASE names a local image to build on.
BASE ?=
image-trial: $(STAMP)
	$(BIN)/python -m tests.image.trial $(BASE)

# What the tests do with some files and cuts, with all of them; processes killed again and again; a longer fuzz.
STORM_ROUNDS ?= 5
storm: $(STAMP) fuzz
	$(BIN)/python -m pytest -m storm
	for round in $$(seq $(STORM_ROUNDS)); do $(BIN)/python -m pytest tests/crash || exit; done

# Mutated files through the sandbox, and generated requests to the API, for longer than the tests do.
FUZZ_SECONDS ?= 600
fuzz: $(STAMP)
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz tests/integration/test_api_fuzz.py

# All figures of the documentation, anew.
bench: accuracy benchmarks

# Measures what is found of edited copies, on photographs of your own, and writes docs/accuracy.md.
PHOTOS ?= $(HASHWARDEN_REFERENCE_DATA)/photos
CLIPS ?= $(HASHWARDEN_REFERENCE_DATA)/video
accuracy: $(STAMP)
	$(BIN)/hashwarden bench accuracy --photos $(PHOTOS) --clips $(CLIPS) --limit 15 --json > docs/data/accuracy.json
	$(BIN)/python -m worker.bench.report docs/data/accuracy.json docs/accuracy.md docs/pictures/accuracy.svg

# Measures look-ups among up to ten million hashes, beside FAISS, uploads a second and first loads, and writes
# docs/benchmarks.md. Takes half an hour and 6 GiB of memory; let nothing else run.
benchmarks: $(STAMP)
	$(BIN)/hashwarden bench index --slow-peers --json > docs/data/index.json
	$(BIN)/hashwarden bench pipeline --photos $(PHOTOS) --limit 12 --json > docs/data/pipeline.json
	$(BIN)/hashwarden bench sync --json > docs/data/sync.json
	$(BIN)/python -m worker.bench.benchmarks docs

# The pictures of docs/console.md and docs/how-to/practice-bank.md, from the running pages. Needs Chromium.
pictures: $(STAMP)
	$(BIN)/python -m tests.browser.pictures docs/pictures/console
	$(BIN)/python -m tests.browser.practice.pictures docs/pictures/practice-bank

# What in docs/ is made from the code.
docs: $(STAMP)
	$(BIN)/python -m config.reference > docs/reference/settings.md
	$(BIN)/python -m worker.commands.reference > docs/reference/command-line.md
	$(BIN)/python -m worker.review.api.reference > docs/reference/openapi.json

# The catalogue of all texts of the pages, made from the code, and the languages with exactly its texts.
words: $(STAMP)
	$(BIN)/python -m worker.review.catalogue

# Re-resolves every pin. Needs uv; the lock names no index.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--all-extras pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		-c requirements.lock pyproject.toml -o docker/requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		-c requirements.lock requirements-build.in -o requirements-build.lock

clean:
	rm -rf $(VENV) var build *.egg-info
