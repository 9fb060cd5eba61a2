#!/usr/bin/env bash
# Trains as one process, on the CPU or one card.
# usage: bash scripts/run_train.sh --config FILE [-- FLAGS OF train.py]
# Paths are relative to the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/options.sh
unset config
read_options "config" "$@"
source scripts/find_python.sh
exec "$PYTHON" train.py --config_path="$config" "${flags[@]}"
