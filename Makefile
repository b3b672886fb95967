# Two commands do all: `make demo` trains on the embedded toy set, `make test` passes the tests. Both call `make setup`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_CONFIG := configs/upernet_convnext_atto_shapes.py
DEMO := work_dirs/demo

# torch and torchvision releases that belong together; PyPI's builds for aarch64 need the earlier pair.
TORCH_x86_64 := torch==2.14.1 torchvision==0.29.1
TORCH_aarch64 := torch==2.9.1 torchvision==0.24.1
TORCH ?= $(TORCH_$(shell uname -m))

# Tests are spread over two processes, a thread each; who is done first takes some of the other's.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Run a second time as on a processor without AVX-512 and bfloat16, which oneDNN and PyTorch look for at their start; where
# there is no AVX-512 the first run was that.
AVX512 := $(shell grep -qs avx512f /proc/cpuinfo && echo yes)
NUMERICAL := -m 'not slow' $(patsubst %,tests/test_%.py,compiled_conv constants convnext cross_entropy depthwise fast_conv guard onednn pointwise rivals rpn_head segmentor strip_loss strips uper_head upsampled_conv winograd)

.PHONY: setup demo test quick soak fuzz mutants compiled-operators zoo test-forks clean

setup: $(VENV)/.installed

# The stamp is written last: a set-up that was cut off is done again.
$(VENV)/.installed: requirements.txt requirements-test.txt requirements-export.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

demo: setup
	test -d data/shapes || $(BIN)/python tools/make_shapes.py data/shapes
	$(BIN)/python tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO) --seed 0
	$(BIN)/python tools/test.py $(DEMO_CONFIG) $(DEMO) --work-dir $(DEMO) --out $(DEMO)/metrics.json --show-dir $(DEMO)/pictures

quick: setup
	$(PYTEST) -m 'not slow'

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) --durations=25
	$(if $(AVX512),ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(PYTEST) $(NUMERICAL),@echo 'no AVX-512 here: no second run without')

# Runs killed at random moments and resumed, compared bit by bit with undisturbed ones; about 20 seconds a kill.
KILLS ?= 100
soak: setup
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python tests/soak.py --kills $(KILLS)

# A value of every type for every key of the recipes and every option of the tools; about a second a case.
fuzz: setup
	CONVNEXT_DENSE_FUZZ_CASES=500 $(BIN)/python -m pytest tests/test_fuzz.py

# Which one-line changes do the tests notice? A sample, an hour: MUTANTS='--rooms models --sample 50 --seed 1' for less.
mutants: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python tests/mutants.py $(MUTANTS)

# mmcv's own CPU kernels, from the sources that mmcv-lite ships: tests/test_compiled_operators.py compares ours with them.
compiled-operators: setup
	$(BIN)/python tests/compiled_operators.py

# Which families of MMDetection and heads of MMSegmentation work with ConvNeXt in them; ten minutes. ZOO='--help' for less.
ZOO ?=
zoo: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	OMP_NUM_THREADS=1 $(BIN)/python tests/zoo.py $(ZOO)

# The plugin in onedl-mmdetection and its like, which go by the same names: in an environment that has them before all that
# $(VENV) has.
FORKS := .venv-forks
FORKED := plugin finder ops needed mmpretrain register deform roi_align operators
test-forks: $(FORKS)/.installed
	OMP_NUM_THREADS=1 $(FORKS)/bin/python -m pytest -n 2 --dist worksteal $(patsubst %,tests/test_%.py,$(FORKED))

$(FORKS)/.installed: requirements-forks.txt $(VENV)/.installed
	rm -rf $(FORKS)
	$(BIN)/python -m venv --without-pip $(FORKS)
	$(BIN)/python -m pip --python $(FORKS) install --quiet --disable-pip-version-check --no-deps -r requirements-forks.txt
	$(BIN)/python tests/beside.py $(FORKS)
	touch $@

clean:
	rm -rf $(VENV) $(FORKS) .compiled_operators work_dirs data/shapes build *.egg-info
