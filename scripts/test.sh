#!/usr/bin/env bash
# Everything that must pass, in one command, on a machine with a Rust toolchain and Node and nothing of ours: installs
# what the tests need (Debian packages as root or with sudo, Python and Node packages below target/), then checks and
# tests. CI runs exactly this.
#
#   scripts/test.sh            all of it
#   scripts/test.sh --quick    without the container image and the validators of operation files
#
# The heavy tests are not run here: cargo test --release -- --ignored

set -euo pipefail
cd "$(dirname "$0")/.."

quick=
[ "${1:-}" = --quick ] && quick=1

step() {
  local started=$SECONDS
  printf '\n== %s\n' "$1"
  shift
  "$@"
  printf '== fine (%s s)\n' "$((SECONDS - started))"
}

export RUSTFLAGS="${RUSTFLAGS:-}" CARGO_TERM_COLOR=never RUST_BACKTRACE=0

step 'what the tests need' bash scripts/test-tools.sh
step 'formatting' cargo fmt --all --check
step 'lints, warnings are errors' cargo clippy --locked --all-targets --quiet -- -D warnings
step 'documentation, warnings are errors' env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
step 'tests' cargo test --locked --quiet
step 'the TypeScript client' bash scripts/sdk-test.sh
step 'the page to try it' bash scripts/demo-test.sh
if [ -z "$quick" ]; then
  step 'files for operators; licences, bans, advisories' bash scripts/ops-check.sh
  step 'container image: linted, built, inspected, run' env IMAGE_PROFILE="${IMAGE_PROFILE:-release}" bash scripts/image.sh
fi
printf '\nall of it passed in %s s\n' "$SECONDS"
