#!/usr/bin/env bash
# Sets up .venv, then runs the linter and all tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh requirements-dev.txt
ruff check .
ruff format --check .
"$PYTHON" -m pytest "$@"
