#!/usr/bin/env bash
# Sets up .venv, then runs the linter and all tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh --dev

# the report is tested in a browser, which no Python package brings
if ! command -v chromium chromium-browser google-chrome >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if ! { $as_root apt-get update -qq && $as_root apt-get install -y -qq chromium; } >/dev/null; then
    echo "error: chromium is not installed, and 'apt-get install chromium' failed; install it" >&2
    exit 1
  fi
fi

ruff check .
ruff format --check .
# a process for each of two cores; a file's tests share what they compile
"$PYTHON" -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder "$@"
