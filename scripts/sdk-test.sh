#!/usr/bin/env bash
# Builds the TypeScript client and tests it: types, unit tests, tests against the real broker over HTTP, React, the globals of
# React Native, workerd, Chromium on two origins, size budgets, and the package as it would be published. Installs Chromium as
# a Debian package (as root or with sudo), and Node packages below sdk/node_modules.
#
#   scripts/sdk-test.sh                                  everything
#   BROKER_BINARY=… CHROMIUM=… scripts/sdk-test.sh       with another broker or browser
#
# Needs a broker: cargo build makes target/debug/token-broker.

set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'sdk-test: %s\n' "$*"; }
fail() { printf 'sdk-test: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else fail "no root and no sudo to run: $*"; fi
}

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then fail 'node and npm are missing: run scripts/test-tools.sh'; fi
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  fail "Node $(node --version) is too old: 20.19 or newer is needed"

export BROKER_BINARY="${BROKER_BINARY:-$PWD/target/debug/token-broker}"
[ -x "$BROKER_BINARY" ] || fail "no broker at $BROKER_BINARY: run cargo build, or set BROKER_BINARY"

if [ -z "${CHROMIUM:-}" ]; then
  if ! command -v chromium >/dev/null; then
    command -v apt-get >/dev/null || fail 'Chromium is missing, and this is no Debian: set CHROMIUM to the executable'
    say 'installing the package chromium'
    as_root env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq --no-install-recommends chromium >/dev/null
  fi
  CHROMIUM=$(command -v chromium)
fi
export CHROMIUM

cd sdk
say 'installing Node packages into sdk/node_modules'
timeout 600 npm ci --silent --no-audit --no-fund --ignore-scripts

say 'building twice: the results must be equal'
built() { find dist -type f -exec sha256sum {} + | sort | sha256sum; }
npm run --silent build
once=$(built)
npm run --silent build
[ "$once" = "$(built)" ] || fail 'two builds of the same sources differ'

say 'checking types of tests, examples and the public surface'
npm run --silent build:test

say 'testing'
# One test file after the other, because some start browsers or brokers and would disturb each other's times.
log=$PWD/test-dist/tests.log
timeout 1800 node --expose-gc --test --test-concurrency=1 --test-timeout=300000 --test-reporter=dot --test-reporter-destination=stdout \
  --test-reporter=spec --test-reporter-destination="$log" test-dist/test/*/*.test.js || {
  sed -n '/failing tests/,$p' "$log" >&2
  fail "tests failed; see $log"
}
grep -E '^ℹ (tests|pass|fail)' "$log"

say 'measuring'
node scripts/size.mjs

say 'checking the package as it would be published'
node scripts/pack.mjs
say 'all tests passed'
