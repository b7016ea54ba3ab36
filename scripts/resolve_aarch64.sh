#!/usr/bin/env bash
# Resolves the base install for 64-bit ARM Linux, wheels only, and prints what it would install of compiled packages.
# Nothing is downloaded or built. $1: the folder with uv and python. The index is the one that pip is configured with.
set -euo pipefail
bin=$1
cd "$(dirname "$0")/.."
index=$("$bin/python" -m pip config get global.index-url 2>/dev/null || true)
for python in 3.11 3.12 3.13 3.14; do
  found=$("$bin/uv" pip compile pyproject.toml --python-platform aarch64-unknown-linux-gnu --python-version "$python" \
    --only-binary :all: --no-header --no-annotate ${index:+--default-index "$index"} --quiet --output-file /dev/stdout)
  echo "Python $python: $(grep -cE '^[a-z].*==' <<<"$found") packages, of them $(
    grep -E '^(av|numpy|rapidfuzz|safetensors|soxr|tokenizers|torch)==' <<<"$found" | paste -sd ' ')"
done
