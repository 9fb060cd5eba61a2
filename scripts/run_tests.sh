#!/usr/bin/env bash
# Sets up .venv, then runs the linter and the tests.
# usage: bash scripts/run_tests.sh [--fast] [--yes] [ARGUMENTS OF pytest]
#   --fast  without tests that are slow, start mpirun or need a browser; 2 to 3 minutes
#   --yes   installs a missing system package without asking, as where the variable CI is set
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/options.sh

needs_browser=1 may_install=${CI:-} selected=()
while [ $# -gt 0 ]; do
  case $1 in
    --fast) needs_browser="" selected=(-m "not slow and not mpi and not browser") ;;
    --yes) may_install=1 ;;
    -h | --help) usage; exit 0 ;;
    *) break ;;
  esac
  shift
done

# Installs chromium, in which the report is tested and which no Python package brings, if allowed to.
install_browser() {
  local as_root="" answer=""
  local how="install it, let --yes do so by 'apt-get install chromium', or run without: --fast"
  if [ -z "$may_install" ] && [ -t 0 ]; then
    read -rp "The tests of the report need chromium. Install it by apt-get? [y/N] " answer
    [[ $answer != [yY]* ]] || may_install=1
  fi
  if [ -z "$may_install" ]; then
    echo "error: chromium is not installed; $how" >&2
    return 1
  fi
  [ "$(id -u)" = 0 ] || as_root="sudo"
  [ -t 0 ] || as_root=${as_root:+sudo -n}
  if ! { $as_root apt-get update -qq && $as_root apt-get install -y -qq chromium; } >/dev/null; then
    echo "error: 'apt-get install chromium' failed; install chromium, or run without: --fast" >&2
    return 1
  fi
}

if [ -n "$needs_browser" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
  install_browser || exit 1
fi
source scripts/setup.sh --dev
ruff check .
ruff format --check .
# a process for each of two cores; a file's tests share what they compile
"$PYTHON" -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder "${selected[@]}" "$@"
