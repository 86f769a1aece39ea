# Every target makes its own .venv and builds what it needs: a bare clone with Python >= 3.11 and a C++ compiler is enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SOURCES := pyproject.toml CMakeLists.txt $(shell find src cpp -name '*.py' -o -name '*.pyi' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.txt' -o -name '*.in' -o -name '*.cmake')

.PHONY: demo test test-cpp test-isas bench lint docs wheel format clean

demo: $(VENV)/installed
	$(BIN)/starskope demo demo

test: $(VENV)/installed $(VENV)/test
	$(BIN)/python -m pytest -q -n auto --dist loadfile
	$(MAKE) test-cpp

# Twice: under the sanitizers, and as released, where the check of the object files' symbols runs.
test-cpp: build/sanitize/tested build/release/tested

build/sanitize/tested: CPP_OPTIONS := -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSTARSKOPE_SANITIZE=ON
build/release/tested: CPP_OPTIONS := -DCMAKE_BUILD_TYPE=Release -DSTARSKOPE_WERROR=$(or $(WERROR),OFF)
build/%/tested: $(VENV)/build $(SOURCES)
	$(BIN)/cmake -S . -B build/$* -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) \
		-DSTARSKOPE_PYTHON=OFF -DSTARSKOPE_TESTS=ON $(CPP_OPTIONS)
	$(BIN)/cmake --build build/$*
	$(BIN)/ctest --test-dir build/$* --output-on-failure
	@touch $@

# The instruction sets that are not this CPU's own, emulated: needs qemu-user and g++-aarch64-linux-gnu.
test-isas: build/release/tested
	.ci/isas $(abspath $(BIN)) build/release

bench: $(VENV)/installed $(VENV)/bench
	$(BIN)/python -m pytest bench -q $(BENCH)

lint: $(VENV)/installed $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find cpp -name '*.cpp' -o -name '*.hpp' | xargs $(BIN)/clang-format --dry-run --Werror

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find cpp -name '*.cpp' -o -name '*.hpp' | xargs $(BIN)/clang-format -i

docs: $(VENV)/installed $(VENV)/docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

wheel: $(VENV)/wheel build/release/tested
	.ci/wheel $(BIN) build/release

clean:
	rm -rf build dist demo docs/_build bench/results

# --- what the targets stand on -------------------------------------------------------------------------------------
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -U 'pip>=25.1'
	@touch $@

$(VENV)/build: $(VENV)/pip
	$(PIP) install 'scikit-build-core>=0.10' 'pybind11>=3' 'cmake>=3.20' ninja
	@touch $@

$(VENV)/installed: $(VENV)/build $(SOURCES)
	$(PIP) install --no-build-isolation '.[demo]'
	@touch $@

# tesscube asks for an older aiobotocore and NumPy than it needs, and from 1.2 on for the network when it is imported.
$(VENV)/bench: $(VENV)/pip pyproject.toml
	$(PIP) install --group bench
	$(PIP) install --no-deps tesscube==1.1.1
	@touch $@

$(VENV)/test $(VENV)/lint $(VENV)/docs: $(VENV)/%: $(VENV)/pip pyproject.toml
	$(PIP) install --group $*
	@touch $@

$(VENV)/wheel: $(VENV)/build pyproject.toml
	$(PIP) install --group wheel
	@touch $@
