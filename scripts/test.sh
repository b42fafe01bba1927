#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, types, layers, tests. Installs into .venv what it needs.
#   bash scripts/test.sh          the tier for everybody, under 10 minutes on 2 cores
#   bash scripts/test.sh --all    the long tests too; this is what CI runs
#   bash scripts/test.sh [--all] PYTEST_ARGUMENTS ...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" train,test
tests=(-m "not slow and not gpu")
if [ "${1:-}" = --all ]; then
    shift
    tests=(-m "not gpu")
    if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then tests=(); fi
fi
echo "== lint";   ruff check .
                ruff format --check --quiet .  # by itself: of "a && b" the shell forgives a failing a
echo "== types";  pyright --warnings
echo "== layers"; lint-imports --no-cache | tail -n 3
echo "== tests";  python -m pytest -q --durations=5 "${tests[@]}" "$@"
