#!/usr/bin/env bash
# Builds the demo page, checks that the committed build is current and small, and tests the page in Chromium against the real
# broker with its simulated OpenAI. Chromium sees one font family only, the default of a bare Debian, whatever is installed.
# Installs Chromium and that font as Debian packages (as root or with sudo), and Node packages below demo/node_modules.
#
#   scripts/demo-test.sh                               everything
#   scripts/demo-test.sh --picture                     also saves screenshots for the README: docs/demo.png, docs/dashboard.png
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
command -v npm >/dev/null || fail 'npm is missing: run scripts/test-tools.sh'

export BROKER_BINARY="${BROKER_BINARY:-$PWD/target/debug/token-broker}"
[ "${DEMO_URL:-broker}" != broker ] || [ -x "$BROKER_BINARY" ] || fail "no broker at $BROKER_BINARY: run cargo build, or set BROKER_BINARY"

if [ -z "${CHROMIUM:-}" ]; then
  command -v chromium >/dev/null || install_package chromium 'set CHROMIUM to the executable'
  CHROMIUM=$(command -v chromium)
fi
export CHROMIUM

# Chromium may use this font alone: a test that needs another one fails everywhere, not only on a fresh machine.
font=/usr/share/fonts/truetype/dejavu
[ -e "$font/DejaVuSans.ttf" ] || install_package fonts-dejavu-core "put the DejaVu fonts into $font"
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
mkdir "$room/fonts"
ln -s "$font"/DejaVu{Sans,SansMono,Serif}{,-Bold}.ttf "$room/fonts"
cat >"$room/fonts.conf" <<END
<?xml version="1.0"?>
<fontconfig>
  <dir>$room/fonts</dir>
  <cachedir>$room/cache</cachedir>
  <include ignore_missing="yes">/etc/fonts/conf.d</include>
</fontconfig>
END
export FONTCONFIG_FILE=$room/fonts.conf

say 'building, and comparing with the committed build'
scripts/demo-build.sh --check

say 'testing'
# One process, because the files share a browser.
timeout 2400 node --test-reporter=spec demo/test/all.mjs
say 'all tests passed'
