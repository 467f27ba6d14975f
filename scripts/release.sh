#!/usr/bin/env bash
# Builds what a release consists of, for the architecture of this machine, in target/release-files:
#
#   token-broker-VERSION-linux-ARCH.tar.gz          the static binary, licences, the unit of systemd, nginx' files
#   token-broker-VERSION-linux-ARCH.cdx.json        the bill of materials, CycloneDX
#   token-broker-VERSION-linux-ARCH.sha256          checksums of both
#
# The binary also lists its crates itself: `cargo audit bin token-broker`, and scanners of images read that list.
#
#   scripts/release.sh [TAG]           builds; fails if TAG is not v and the version in Cargo.toml
#   scripts/release.sh --notes TAG     prints the changes of that version from CHANGELOG.md
#
#   RELEASE_PROFILE=dist    the cargo profile
#   RELEASE_TARGET=…        the Rust target; musl, unless another static one is named
#
# Installs musl-tools as root, and cargo-auditable and cargo-cyclonedx below target/ops-tools.

set -euo pipefail
cd "$(dirname "$0")/.."

auditable_version=0.7.7
cyclonedx_version=0.5.9
profile=${RELEASE_PROFILE:-dist}
target=${RELEASE_TARGET:-$(uname -m)-unknown-linux-musl}
tools=$PWD/target/ops-tools
files=$PWD/target/release-files
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

say() { printf 'release: %s\n' "$*"; }
fail() { printf 'release: FAILED: %s\n' "$*" >&2; exit 1; }

check_tag() { [ "$1" = "v$version" ] || fail "the tag is $1, and Cargo.toml says $version"; }

notes() {
  check_tag "$1"
  awk -v heading="## $version" 'index($0, "## ") == 1 { printing = index($0, heading) == 1; next } printing' CHANGELOG.md
}

install_tools() {
  if [[ $target == *-musl ]]; then
    if ! command -v musl-gcc >/dev/null; then
      [ "$(id -u)" = 0 ] || fail "musl-gcc is missing: install musl-tools"
      { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends musl-tools; } >/dev/null
    fi
    export "CC_${target//-/_}=musl-gcc"
  fi
  rustup target list --installed | grep -x "$target" >/dev/null || rustup target add "$target"
  cargo install --quiet --locked --root "$tools" "cargo-auditable@$auditable_version" "cargo-cyclonedx@$cyclonedx_version"
  export PATH=$tools/bin:$PATH
}

build() {
  say "building $target, profile $profile"
  RUSTFLAGS="-C target-feature=+crt-static" cargo auditable build --profile "$profile" --locked --no-default-features --bin token-broker --target "$target"
  binary=target/$target/${profile/#dev/debug}/token-broker
  readelf --program-headers --wide "$binary" | grep INTERP && fail "the binary is not static"
  readelf --sections --wide "$binary" | grep -F .dep-v0 >/dev/null || fail "the binary does not list its crates"
  [ "$("$binary" --version)" = "realtime-token-broker $version" ] || fail "the binary says $("$binary" --version)"
}

pack() {
  local name=token-broker-$version-linux-$1 room
  room=$(mktemp -d)
  mkdir -p "$room/$name" "$files"
  rm -f "$files/$name".*
  install -m 0755 "$binary" "$room/$name/"
  install -m 0644 LICENSE-APACHE LICENSE-MIT CHANGELOG.md SECURITY.md config/default.toml config/token-broker.service \
    config/nginx.conf config/nginx-proxy.inc config/nginx-upstream.inc "$room/$name/"
  # The same files give the same archive.
  tar --create --gzip --file "$files/$name.tar.gz" --directory "$room" --sort name --owner 0 --group 0 --numeric-owner \
    --mtime "@$(git log -1 --format=%ct 2>/dev/null || echo 0)" "$name"
  rm -rf "$room"
  cargo cyclonedx --quiet --no-default-features --format json --spec-version 1.5 --target "$target" --override-filename "$name.cdx"
  mv "$name.cdx.json" "$files/"
  (cd "$files" && sha256sum "$name.tar.gz" "$name.cdx.json" >"$name.sha256")
  (cd "$files" && ls -l "$name".*)
}

case ${1:-} in
  --notes) notes "${2:?the tag}"; exit ;;
  '') ;;
  *) check_tag "$1" ;;
esac
case $target in
  x86_64-*) arch=amd64 ;;
  aarch64-*) arch=arm64 ;;
  *) fail "no name for the architecture of $target" ;;
esac
install_tools
build
pack "$arch"
