#!/usr/bin/env bash
# Builds the try-it page, compares it with what is committed, weighs it, and tests it in Chromium against the real broker
# with its simulated OpenAI. Installs what it needs: Chromium and the font Inter as Debian packages (as root or with sudo),
# Node packages below demo/node_modules. Says what it does.
#
#   scripts/demo-test.sh                               all of it
#   scripts/demo-test.sh --picture                     also keeps the picture of the page as docs/demo.png
#   DEMO_URL=broker …                                  the page as the broker under test serves it, not the files here
#   DEMO_URL=http://127.0.0.1:8080/demo …              the page of a broker that runs already; its limits should be wide
#   BROKER_BINARY=… CHROMIUM=… scripts/demo-test.sh    with another broker or browser
#
# Needs a broker: cargo build makes target/debug/token-broker.

set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'demo-test: %s\n' "$*"; }
fail() { printf 'demo-test: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else fail "no root and no sudo to run: $*"; fi
}

install_package() {
  command -v apt-get >/dev/null || fail "$1 is missing, and this is no Debian: $2"
  say "installing the package $1"
  as_root env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

case ${1:-} in '') ;; --picture) export DEMO_PICTURE=1 ;; *) fail 'usage: scripts/demo-test.sh [--picture]' ;; esac
command -v npm >/dev/null || fail 'npm is missing: install Node 20.19 or newer'

export BROKER_BINARY="${BROKER_BINARY:-$PWD/target/debug/token-broker}"
[ "${DEMO_URL:-broker}" != broker ] || [ -x "$BROKER_BINARY" ] || fail "no broker at $BROKER_BINARY: run cargo build, or set BROKER_BINARY"

if [ -z "${CHROMIUM:-}" ]; then
  command -v chromium >/dev/null || install_package chromium 'set CHROMIUM to the executable'
  CHROMIUM=$(command -v chromium)
fi
export CHROMIUM
# The picture should look the same wherever it is taken.
[ -z "${DEMO_PICTURE:-}" ] || [ -n "$(fc-list 'Inter' 2>/dev/null)" ] || install_package fonts-inter 'install the font Inter'

say 'building, and comparing with what is committed'
scripts/demo-build.sh --check

say 'testing'
# One process: the files share a browser.
timeout 600 node --test-reporter=spec demo/test/all.mjs
say 'all of it passed'
