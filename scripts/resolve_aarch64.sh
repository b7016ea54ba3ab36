#!/usr/bin/env bash
# Resolves the base install for 64-bit ARM Linux, wheels only: nothing of it is downloaded or built.
# Takes the folder with uv and python in it. The package index is the one that pip is configured with.
set -euo pipefail
bin=$1
cd "$(dirname "$0")/.."
setting() { "$bin/python" -m pip config get "global.$1" 2>/dev/null || true; }
index=$(setting index-url)
for python in 3.11 3.12 3.13 3.14; do
  "$bin/uv" pip compile --quiet --python-platform aarch64-unknown-linux-gnu --python-version "$python" \
    --only-binary :all: --no-header --no-annotate ${index:+--default-index "$index"} pyproject.toml --output-file - |
    grep -E '^(torch|numpy|tokenizers|safetensors|av|soxr)==' | tr '\n' ' '
  echo "resolves for Python $python"
done
