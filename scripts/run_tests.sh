#!/usr/bin/env bash
# Sets up .venv, then runs the linter and all tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh requirements-dev.txt
ruff check .
ruff format --check .
# a process for each of two cores; a file's tests share what they compile
"$PYTHON" -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder "$@"
