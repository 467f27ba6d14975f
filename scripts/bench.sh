#!/usr/bin/env bash
# Compares the load of the broker, nginx, a bare forwarder and Express in front of the same fast fake upstream, in one run.
# The subject has one core, everything else another. Prints tables and leaves them in target/bench/run/report.md.
#
#   scripts/bench.sh           five rounds and two million callers: some fifteen minutes, once all is built
#   scripts/bench.sh --quick   one short round: two minutes
#   scripts/bench.sh --baseline PATH [--quick]
#                              the same, and an earlier executable of the broker in every round, with ratios. It must be built alike:
#                              cargo build --profile dist --no-default-features
#   scripts/bench.sh --governed [--baseline PATH] [--quick]
#                              the cost of identity, a durable ledger and Redis; broker and load share all cores
#   scripts/bench.sh --calls   what ten thousand watched calls cost, and what kills, takeovers and races do to calls: a quarter
#                              of an hour; CALLS=1000 and KILLS=20 for less
#   scripts/bench.sh --live    what a hundred GPT-Live calls with reflected audio cost, and what kills do to them: some ten minutes; CALLS=20 and
#                              KILLS=20 for less
#   scripts/bench.sh --relay   what a relay costs beside nginx and SMG, ten thousand idle relays, half a million frames; RELAYS=1000 for fewer
#   scripts/bench.sh --ops     what metrics, scraped each second, and an open dashboard cost a mint, and a scrape beside ten thousand
#                              live calls: ten minutes; MINTS=1000 and CALLS=1000 for less
#   scripts/bench.sh --only=broker [--livez | --refused --few | --blocked --few]
#                              one subject under load for fifteen seconds, for a profiler to look at
#
# BROKER=…   another executable of the broker than the build of this tree
# PROFILE=…  the cargo profile of that build: for the comparison dist, which the container ships, unless this says otherwise;
#            for --ops release
# NODE=…     another Node than the one that this script installs
#
# Needs two cores, Rust, nginx, npm. Installs npm packages below target/. Uses loopback only, and ends every process it starts.

set -euo pipefail
cd "$(dirname "$0")/.."

here=$PWD
bench=$here/target/bench
core=${BENCH_CORE:-0} other_core=${BENCH_OTHER_CORE:-1}
node_version=24
smg_version=1.13.0

say() { printf 'bench: %s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is missing: apt-get install $2"; exit 1; }; }

arguments=() baseline='' governed='' profile=${PROFILE:-}
while [ $# -gt 0 ]; do
    case $1 in
        --baseline) baseline=$(realpath -e "${2:?--baseline needs a path}"); shift ;;
        --calls)
            ulimit -n "$(ulimit -Hn)"
            [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 15000 ] || { say "15,000 file handles are needed: ulimit -Hn 15000"; exit 1; }
            cargo test --release --locked --test api -- --nocapture an_overshoot_is_at_most
            # In a process of its own: memory that another test has given back would hide what this one takes.
            cargo test --release --locked --test process -- --ignored --nocapture the_least_memory
            exec cargo test --release --locked --test process -- --include-ignored --nocapture --test-threads=1 \
                calls::heavy::sd27 calls::kills::sd15 sd17_sd18 ca24 ;;
        --live)
            exec cargo test --release --locked --test process -- --ignored --nocapture --test-threads=1 \
                calls::heavy_live lv22_two_hundred ;;
        --relay)
            ulimit -n "$(ulimit -Hn)"
            handles=$((2 * ${RELAYS:-10000} + 1000))
            [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$handles" ] || {
                say "$handles file handles are needed: ulimit -Hn $handles, or RELAYS=1000 for fewer"
                exit 1
            }
            need taskset util-linux
            need nginx nginx
            smg=target/tools/smg
            if ! "$smg/bin/python" -c "import importlib.metadata as m; assert m.version('smg') == '$smg_version'" 2>/dev/null; then
                say "installing smg $smg_version from PyPI"
                rm -rf "$smg"
                python3 -m venv "$smg"
                "$smg/bin/python" -m pip install --quiet --disable-pip-version-check "smg==$smg_version"
            fi
            cargo test --release --locked --test process --no-run >&2
            exec taskset -c "$other_core" cargo test --release --locked --test process -- --ignored --nocapture --test-threads=1 relay::heavy ;;
        --ops)
            ulimit -n "$(ulimit -Hn)"
            handles=$((${CALLS:-10000} + 5000))
            [ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$handles" ] || {
                say "$handles file handles are needed: ulimit -Hn $handles, or CALLS=1000 for fewer"
                exit 1
            }
            exec cargo test --profile "${profile:-release}" --locked --test process -- --ignored --nocapture \
                --test-threads=1 ops_load calls::scraped ;;
        --governed) governed=1; arguments+=("$1") ;;
        --quick | --only=* | --livez | --refused | --blocked | --few) arguments+=("$1") ;;
        *) say "usage: scripts/bench.sh [--governed] [--baseline PATH] [--quick] | --calls | --live | --relay | --ops | --only=SUBJECT …"; exit 2 ;;
    esac
    shift
done
need taskset util-linux
need setpriv util-linux
need nginx nginx
need npm npm
[ -z "$governed" ] || need redis-server redis-server
[ "$(nproc)" -ge 2 ] || { say "two cores are needed: one for the subject, one for the load"; exit 1; }

mkdir -p "$bench/express" "$bench/run"
cp benches/load/express/package.json benches/load/express/server.mjs "$bench/express/"
npm install --prefix "$bench/express" --no-package-lock --no-audit --no-fund --loglevel=error >&2
if [ -z "${NODE:-}" ]; then
    say "Node $node_version, from npm"
    npm install --prefix "$bench/node" --no-package-lock --no-audit --no-fund --loglevel=error "node@$node_version" >&2 || true
    NODE=$bench/node/node_modules/.bin/node
    [ -x "$NODE" ] || NODE=$(command -v node)
fi

say "building; this takes some minutes the first time"
cargo build --release --locked --manifest-path benches/load/Cargo.toml --target-dir "$bench/cargo" >&2
if [ -z "${BROKER:-}" ]; then
    profile=${profile:-dist}
    cargo build --profile "$profile" --locked --no-default-features >&2
    BROKER=$here/target/$profile/token-broker
fi
say "nginx $(nginx -v 2>&1 | cut -d/ -f2), Node $("$NODE" --version)"

if [ -n "$governed" ]; then core=0-$(($(nproc) - 1)) other_core=$core; fi
exec env RUST_BACKTRACE=0 BENCH_DIRECTORY="$bench/run" BENCH_BROKER="$BROKER" BENCH_EXPRESS="$bench/express" BENCH_NODE="$NODE" \
    BENCH_CORE="$core" ${baseline:+BENCH_BASELINE="$baseline"} \
    taskset -c "$other_core" "$bench/cargo/release/compare" ${arguments[@]+"${arguments[@]}"}
