#!/usr/bin/env bash
# Runs every check and test, on a machine with a Rust toolchain and Node. First installs what the tests need: Debian packages as
# root or with sudo, Python and Node packages below target/. CI runs exactly this script.
#
#   scripts/test.sh            everything
#   scripts/test.sh --quick    without containers and without the validators of the files for operators
#
# The heavy tests run separately: cargo test --release -- --ignored

set -euo pipefail
cd "$(dirname "$0")/.."

quick=
[ "${1:-}" = --quick ] && quick=1

step() {
  local started=$SECONDS
  printf '\n== %s\n' "$1"
  shift
  "$@"
  printf '== passed (%s s)\n' "$((SECONDS - started))"
}

export RUSTFLAGS="${RUSTFLAGS:-}" CARGO_TERM_COLOR=never RUST_BACKTRACE=0

step 'programs that the tests need' bash scripts/test-tools.sh
step 'formatting' cargo fmt --all --check
step 'lints, warnings are errors' cargo clippy --locked --all-targets --quiet -- -D warnings
step 'lints of what the image is built from' cargo clippy --locked --no-default-features --quiet -- -D warnings
step 'documentation, warnings are errors' env RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --quiet
step 'tests' cargo test --locked --quiet
step 'the TypeScript client' bash scripts/sdk-test.sh
step 'the demo page, as the broker serves it' env DEMO_URL=broker bash scripts/demo-test.sh
if [ -z "$quick" ]; then
  step 'files for operators; licences, bans, advisories' bash scripts/ops-check.sh
  step 'container image: linted, built, inspected, run' env IMAGE_PROFILE="${IMAGE_PROFILE:-release}" bash scripts/image.sh
  step 'compose files, in a Docker engine' bash scripts/compose-test.sh
fi
printf '\neverything passed in %s s\n' "$SECONDS"
