# Every target makes .venv first if it is missing or out of date: a Python 3.11 and pip are all that is needed.
#
# Variables of the experiments; plan reads all but FORCE, report and bench read DATA and ARGS:
#   BUDGET=smoke|cpu|paper   INITS="idinit fixup"   SEEDS="0 1 2"   DATA=path   ARGS="any Hydra overrides"   FORCE=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The pins of constraints.txt are tested on Python 3.11; another one is used only where there is no 3.11.
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13 3.10,$(shell command -v python$(version) 2>/dev/null)) python3)
RUN := .venv/bin/python
# Debian's Python makes no pip in a new environment unless python3-venv is installed; its own pip can put one there.
WITHOUT_ENSUREPIP = { $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(RUN) install --quiet pip; }
INSTALLED := .venv/.installed
EXPERIMENTS := $(patsubst configs/experiment/%.yaml,%,$(wildcard configs/experiment/*.yaml))

# $(call quoted,text): the text as one word of the shell. $(call listed,a b c): a,b,c.
quoted = '$(subst ','\'',$(1))'
comma := ,
empty :=
listed = $(subst $(empty) $(empty),$(comma),$(strip $(1)))

GRID = $(if $(BUDGET),budget=$(BUDGET)) $(if $(INITS),init=$(call listed,$(INITS))) $(if $(SEEDS),seed=$(call listed,$(SEEDS)))
OTHERS = $(if $(DATA),$(call quoted,paths.data=$(DATA))) $(ARGS)

.PHONY: help env test test-gpu check theory plan report wandb wandb-report bench coverage docs clean $(EXPERIMENTS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo; echo "Experiments, each run by make NAME:"; printf '  %s\n' $(sort $(EXPERIMENTS))
	@echo; sed -n 's/^#   /  /p' Makefile

env: $(INSTALLED) ## .venv with everything, nothing else; all others call it

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into .venv: the first time this downloads PyTorch and takes some minutes"
	@test -x .venv/bin/pip || $(PYTHON) -m venv .venv >/dev/null || $(WITHOUT_ENSUREPIP)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(EXPERIMENTS): env
	@$(RUN) scripts/sweep.py experiment=$@ $(GRID) $(if $(FORCE),force=true) $(OTHERS)

# The demos are experiments like the others; these lines are for `make help`.
demo-text: ## text classifiers, five initializers, texts made by a rule: minutes, no internet
demo: ## deep networks without BatchNorm, seven initializers, data that ships with scikit-learn: minutes, no internet

theory: $(filter-out theory-depth,$(filter theory-%,$(EXPERIMENTS))) ## the paper's analysis: convergence, rank, dead weights, isometry, branches

test: env ## all tests: CPU only, no internet
	@$(RUN) -m pytest -n auto --maxprocesses 4

test-gpu: env ## the tests that need a GPU, where there is one
	@$(RUN) -m pytest -m gpu

check: env ## lint, format, types, layers: what CI checks besides the tests
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@.venv/bin/lint-imports --no-logo

plan: env ## what each experiment costs on this machine (measured), what is done, what is missing
	@$(RUN) scripts/plan.py $(GRID) $(OTHERS)

report: env ## results/ again from the runs
	@$(RUN) scripts/report.py $(OTHERS)

wandb: env ## all runs, old or new, to Weights & Biases; ARGS=wandb.mode=offline writes files
	@$(RUN) scripts/mirror.py $(ARGS)

wandb-report: env ## a report there with the curves of one experiment: EXPERIMENT=name
	@$(RUN) scripts/wandb_report.py $(if $(EXPERIMENT),experiment=$(EXPERIMENT)) $(ARGS)

bench: env ## throughput against the ceiling and the usual alternatives
	@$(RUN) scripts/bench.py $(OTHERS)

coverage: env ## which networks of timm, torchvision and transformers can be initialized; for some: ARGS="'timm:*' hf:bert"
	@$(RUN) scripts/coverage.py $(if $(FORCE),--force) $(ARGS)

docs: env ## the documentation as a site: site/index.html
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

clean: ## removes caches; .venv, runs/ and results/ stay
	@rm -rf .pytest_cache .mypy_cache .ruff_cache build dist
	@find src scripts tests -name __pycache__ -prune -exec rm -rf {} +
