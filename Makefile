# Fovea's commands. `make help` lists them. Everything cached lives in $(FOVEA_CACHE), nothing in the repository but .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# As fovea_dev.layout.Cache reads it: an empty variable is none, a relative path begins here.
override FOVEA_CACHE := $(abspath $(or $(FOVEA_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fovea))
export FOVEA_CACHE
export UV_CACHE_DIR ?= $(FOVEA_CACHE)/uv
export UV_PROJECT_ENVIRONMENT ?= $(CURDIR)/.venv
# uv follows the system's certificates, as pip and git do.
export UV_SYSTEM_CERTS ?= true

PYTHON ?= python3
UV := $(FOVEA_CACHE)/uv-tool/bin/uv
RUN := $(UV) run --frozen --no-sync
DEV := PYTHONPATH=dev $(PYTHON) -m fovea_dev
ARGS ?=

.PHONY: help setup check format test test-all ranges generate verify prerequisites up down status images deploy undeploy gateway demo bench

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  FOVEA_CACHE       folder of all caches (now: $(FOVEA_CACHE))"
	@echo "  FOVEA_KUBECONFIG  use this cluster instead of the embedded one"

prerequisites: ## check what must be on the machine, and say how to install what is missing
	@$(DEV) prerequisites

$(UV):
	@$(DEV) uv >/dev/null

setup: $(UV) ## make .venv with all that checks and tests need
	@echo "installing the workspace into .venv (the first time this fetches TensorFlow)"
	@$(UV) sync --quiet --frozen --group dev --compile-bytecode

check: setup ## format, lint, types, import borders
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports

format: setup ## format the code, and fix what ruff can fix
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

generate: setup ## write the CRDs, the chart's copies, the flag catalogue, the wire code, the reference pages
	@$(RUN) python dev/generate.py

verify: setup ## generate, and fail if a generated file has changed or is new
	@$(RUN) python dev/generate.py --check

test: setup ## all tests: unit, contract, cluster, chart, e2e
	@$(PYTHON) dev/run_tests.py $(ARGS)

ranges: $(UV) ## tests of client and wire with the oldest and the newest versions of their dependencies
	@PYTHONPATH=dev $(PYTHON) dev/check_ranges.py

test-all: setup ranges ## all tests and the wide matrices
	@$(PYTHON) dev/run_tests.py --wide $(ARGS)

up: ## start the cluster (a real one-node Kubernetes; FOVEA_KUBECONFIG uses another)
	@$(DEV) up

down: ## stop the cluster and remove its data
	@$(DEV) down

status: ## show which parts of the cluster run
	@$(DEV) status

images: up ## build and push the images that changed
	@$(DEV) images

deploy: setup images ## install or upgrade Fovea in the cluster by its Helm chart
	@$(RUN) python dev/deploy.py

undeploy: setup ## uninstall Fovea from the cluster
	@$(RUN) python dev/deploy.py --remove

gateway: setup ## put the models of the cluster of `make up` behind Envoy Gateway, which is built first; ARGS=--remove takes it away
	@$(RUN) python dev/envoy_gateway.py $(ARGS)

demo: setup ## the whole way: train on real images, roll out, classify over gRPC and REST
	@$(RUN) python dev/demo.py

bench: setup images ## run the benchmarks; benchmarks/README.md explains them
	@$(RUN) python benchmarks/run.py $(ARGS)
