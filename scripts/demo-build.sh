#!/usr/bin/env bash
# Makes demo/app.js and demo/sdk.js, which the broker has inside, from demo/src and sdk/src; both are committed, so that
# cargo needs no Node. Checks types first, and that the page stays below 40 kB of brotli.
#
#   scripts/demo-build.sh           makes them
#   scripts/demo-build.sh --check   fails when what is committed is not what the sources build to
#
# Needs Node 20 or newer with npm. Packages go into demo/node_modules.

set -euo pipefail
cd "$(dirname "$0")/../demo"

command -v npm >/dev/null || { echo 'demo: npm is missing: install Node 20 or newer' >&2; exit 1; }
# A marker of npm's own tells what is installed.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  echo 'demo: npm ci' >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
node_modules/.bin/tsc
node build.mjs "$@"
