# The commands of this project. Each sets up what it needs; nothing is done twice.
#
#   make demo    the main job on real images: train, index, search, report (demo/report.html)
#   make study-ratings    recommendation on MovieLens-small, in GOSSAMER_DATA (study-ratings/report.html)
#   make test    format, lint, types and tests
#
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# numba does not see edits in imported kernel files, so that compiled kernels live in a folder named by their source.
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba-$(shell cat src/gossamer/kernels/*.py | sha256sum | cut -c1-12)

.PHONY: demo test check format bench-scan bench-calls bench-first bench-small bench-engines bench-budget bench-learning \
	bench-images soak-engine study-identification study-fashion-mnist study-grocery study-dense study-ratings clean

demo: .venv/ready
	$(BIN)/gossamer demo --out demo --overwrite

test: check

# Two processes of tests for two cores: threads of torch beside them would only wait for each other.
check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-scan: .venv/ready
	$(BIN)/python benchmarks/window_scan.py

bench-calls: .venv/ready
	$(BIN)/python benchmarks/search_calls.py

bench-first: .venv/ready
	$(BIN)/python benchmarks/first_answer.py

# From which size of a collection on sparse search pays; images of Omniglot are encoded first.
bench-small: .venv/ready
	$(BIN)/python benchmarks/small_collections.py

# Compares 200,000 drawn searches with the reference, to the bit.
soak-engine: .venv/ready
	$(BIN)/python benchmarks/soak_engine.py

# Times every engine on every data set, about half an hour on two cores, and writes docs/benchmarks.md.
bench-engines: .venv/ready
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/engine_report.py

# Trains to budgets of 0.25, 1 and 4 FLOPs per document, and to 1 with small and large batches: half an hour on one core.
bench-budget: .venv/ready
	$(BIN)/python benchmarks/learning_budget.py
	$(BIN)/python benchmarks/learning_budget.py --targets 1 --batch-sizes 64
	$(BIN)/python benchmarks/learning_budget.py --targets 1 --batch-sizes 512 --steps 100
	$(BIN)/python benchmarks/learning_budget.py --targets 1 --batch-sizes 1024 --steps 60
	$(BIN)/python benchmarks/learning_report.py

# Fits CLINC150's MiniLM rows some forty times, about an hour on one core, and writes docs/learning.md.
bench-learning: .venv/ready
	$(BIN)/python benchmarks/learning_dense.py
	$(BIN)/python benchmarks/learning_codes.py
	$(BIN)/python benchmarks/learning_report.py

# Judges encoders of Omniglot, dense and sparse, and writes docs/learning.md. Those that .cache/models lacks are trained:
# all of them in two hours on one core.
bench-images: .venv/ready
	$(BIN)/python benchmarks/learning_images.py
	$(BIN)/python benchmarks/learning_evenness.py
	$(BIN)/python benchmarks/learning_report.py

# Train and measure what a file of studies/ says. GOSSAMER_DATA names the folder of data sets; a study that was
# killed goes on.
study-identification: .venv/ready
	$(BIN)/gossamer study run studies/identification.yaml --out study-identification
	$(BIN)/gossamer study run studies/identification-regularizers.yaml --out study-identification-regularizers

study-fashion-mnist: .venv/ready
	$(BIN)/gossamer study run studies/fashion-mnist.yaml --out study-fashion-mnist
	$(BIN)/gossamer study run studies/fashion-mnist-test.yaml --out study-fashion-mnist-test

study-grocery: .venv/ready
	$(BIN)/gossamer study run studies/grocery.yaml --out study-grocery

study-ratings: .venv/ready
	$(BIN)/gossamer study ratings $$GOSSAMER_DATA/movielens-small/ratings.csv --out study-ratings

study-dense: .venv/ready
	$(BIN)/gossamer study nearest $$GOSSAMER_DATA/clinc150/minilm_train.npy --queries $$GOSSAMER_DATA/clinc150/minilm_test.npy \
	    --flops-per-document 0.25 --flops-per-document 1 --flops-per-document 4 --out study-dense

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gossamer needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[learn,bench,dev]'
	touch $@

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache demo study-*
