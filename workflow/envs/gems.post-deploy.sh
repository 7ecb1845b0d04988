#!/usr/bin/env bash
# Runs in the workflow's working directory, the root of the repository.
set -euo pipefail
pip install --requirement requirements.txt
pip install --no-deps --editable .
