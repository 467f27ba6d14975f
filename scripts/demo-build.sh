#!/usr/bin/env bash
# Builds demo/built/, which is compiled into the broker, from demo/ and sdk/src. The built files are committed, so that cargo
# needs no Node. Checks types first, and that the page stays below 40 kB of gzip.
#
#   scripts/demo-build.sh           builds
#   scripts/demo-build.sh --check   fails when the committed files are not what the sources build to
#
# Needs Node 20 or newer with npm. Packages go into demo/node_modules.

set -euo pipefail
cd "$(dirname "$0")/../demo"

command -v npm >/dev/null || { echo 'demo: npm is missing: install Node 20.19 or newer' >&2; exit 1; }
# npm writes this marker when it has installed everything.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  echo 'demo: npm ci' >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
node_modules/.bin/tsc
node build.mjs "$@"
