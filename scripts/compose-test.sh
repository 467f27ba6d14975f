#!/usr/bin/env bash
# Starts compose.yaml, compose.dev.yaml and compose.scale.yaml in a real Docker engine with Compose 1.29, restarts what is in
# them, and looks whether anything was lost.
#
#   scripts/compose-test.sh
#
#   COMPOSE_BINARY=path    the broker's executable; without it, the debug build
#
# Starts an engine of its own (data below target/engine, its own socket) and stops it by its process id. The broker's image is the
# final stage of the Dockerfile around the executable and its libraries. In place of nginx, Redis and PostgreSQL from a registry
# stand Debian's packages, so the scripts in the official images are not tested.
#
# Installs docker.io, docker-compose and mmdebstrap as root. Exit code 0: passed, or skipped with a line that says what was not
# tested. Exit code 1: failed.

set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/target/engine
site=$work/site
binary=${COMPOSE_BINARY:-}
engine_pid=
watch_pid=
project=()
front= # where nginx is published

say() { printf 'compose: %s\n' "$*"; }
skip() { printf 'compose: SKIPPED, NOT TESTED: %s\n' "$*" >&2; exit 0; }
fail() {
  printf 'compose: FAILED: %s\n' "$*" >&2
  [ "${#project[@]}" = 0 ] || compose logs --no-color --tail 15 >&2 || true
  exit 1
}

# Debian's programs, in place of others with the same name.
docker() { /usr/bin/docker "$@"; }
compose() { (cd "$site" && timeout 300 /usr/bin/docker-compose --ansi never "${project[@]}" "$@"); }

clean_up() {
  [ -z "$watch_pid" ] || kill "$watch_pid" 2>/dev/null || true
  if [ -n "$engine_pid" ] && [ "${#project[@]}" -gt 0 ]; then compose down --volumes --timeout 5 >/dev/null 2>&1 || true; fi
  if [ -n "$engine_pid" ] && kill -TERM "$engine_pid" 2>/dev/null; then wait "$engine_pid" || true; fi
  if grep -q " $work/" /proc/self/mounts; then
    say "$work was not removed: something is still mounted there"
  else
    rm -rf "$work/data" "$work/run" "$site" "$work/image"
  fi
}

# ---- the engine ------------------------------------------------------------------------------------------------------

install_programs() {
  local missing=()
  [ -x /usr/sbin/dockerd ] || missing+=(docker.io iptables)
  [ -x /usr/bin/docker-compose ] || missing+=(docker-compose)
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || skip "not installed, and this is no Debian: ${missing[*]}"
  say "installing ${missing[*]}"
  # Runlevel 1, so that no service is started by its installation.
  { timeout 300 apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    timeout 900 apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$work/apt.log" 2>&1 ||
    { tail -n 5 "$work/apt.log" >&2; skip "apt-get could not install ${missing[*]}"; }
}

start_engine() {
  local _
  export DOCKER_HOST=unix://$work/run/docker.sock
  mkdir -p "$work/run"
  /usr/sbin/dockerd --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/run/pid" --host "$DOCKER_HOST" \
    >"$work/engine.log" 2>&1 9>&- &
  engine_pid=$!
  for _ in $(seq 1 60); do
    docker info >/dev/null 2>&1 && { say "a Docker engine runs: $(docker version --format '{{.Server.Version}}')"; return; }
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.5
  done
  tail -n 5 "$work/engine.log" >&2
  skip "no Docker engine can be started here"
}

# ---- images ----------------------------------------------------------------------------------------------------------

broker_image() {
  local image=$work/image library
  mkdir -p "$image/out/etc/ssl/certs" "$image/data"
  install -m 0755 "$binary" "$image/out/token-broker"
  # Nothing is copied for a static executable.
  for library in $(ldd "$binary" | grep -o '/[^ ]*' || true); do
    install -D -m 0755 "$library" "$image/out$library"
  done
  install -m 0644 /etc/ssl/certs/ca-certificates.crt "$image/out/etc/ssl/certs/"
  { printf 'FROM scratch AS build\nCOPY out /out\nCOPY data /data\n'
    sed -n '/^FROM scratch$/,$p' Dockerfile; } >"$image/Dockerfile"
  docker build --quiet --tag realtime-token-broker:latest "$image" >/dev/null || fail "the broker's image cannot be built"
}

# Makes one image with Debian's servers under the names that the compose files give.
stand_ins() {
  local suite base=$work/base.tar new=$work/new.tar name
  if [ ! -s "$base" ]; then
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    say "making a Debian $suite with nginx, Redis and PostgreSQL"
    timeout 900 mmdebstrap --quiet --variant=minbase --include=nginx-light,redis-server,postgresql "$suite" "$new" \
      2>"$work/base.log" || { tail -n 5 "$work/base.log" >&2; skip "mmdebstrap could not make a Debian"; }
    mv "$new" "$base"
  fi
  docker import "$base" stand-in >/dev/null
  mkdir -p "$work/image/servers"
  # What the official images do at their start.
  cat >"$work/image/servers/start" <<'SCRIPT'
#!/bin/sh
set -e
[ "$#" = 0 ] || exec "$@"
[ -n "${POSTGRES_DB:-}" ] || exec nginx -g 'daemon off;'
export PATH="$PATH:$(echo /usr/lib/postgresql/*/bin)"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec postgres -c listen_addresses='*'
SCRIPT
  cat >"$work/image/servers/Dockerfile" <<'DOCKERFILE'
FROM stand-in
COPY start /start
RUN echo 'postgres-70:x:70:70::/:/bin/sh' >>/etc/passwd && useradd --system nginx \
    && chmod 0755 /start && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log \
    && ln -s /usr/lib/postgresql/*/bin/pg_isready /usr/local/bin/ && rm -rf /run/* /var/lib/nginx \
    && ln -s /var/cache/nginx /var/lib/nginx \
    && install -d -m 0777 /var/lib/postgresql/data && install -d -o 999 -g 1000 /data
ENV PGDATA=/var/lib/postgresql/data/pg
WORKDIR /data
ENTRYPOINT ["/start"]
DOCKERFILE
  docker build --quiet --tag stand-in:servers "$work/image/servers" >/dev/null || fail "the stand-in image cannot be built"
  sed -n 's/^ *image: \(.*\)/\1/p' compose*.yaml | sort -u | while read -r name; do
    [ "$name" = realtime-token-broker:latest ] || docker tag stand-in:servers "$name"
  done
}

# ---- a site, as an operator makes it -----------------------------------------------------------------------------------

make_site() {
  local redis=redis-password postgres=postgres-password
  mkdir -p "$site/tls" "$site/secrets"
  cp -r compose*.yaml config "$site/"
  # Other ports of this machine, chosen by the engine.
  sed -i -e 's/"80:80"/"127.0.0.1::80"/' -e 's/"443:443"/"127.0.0.1::443"/' "$site"/compose*.yaml
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=broker.example.com \
    -keyout "$site/tls/privkey.pem" -out "$site/tls/fullchain.pem" 2>/dev/null
  echo 'session.max_refreshes = 33' >"$site/config/broker.toml"
  echo sk-simulated >"$site/key"
  # The simulated OpenAI does not run yet, so that the command fails after it has written.
  (cd "$site" && "$binary" init --for docker --key-file key --origins https://app.example.com --issuer off \
    --set upstream.base_url=http://127.0.0.1:8081/v1 --set limits.token=77/60s) >"$work/init.log" 2>&1 || true
  [ -s "$site/.env" ] || { cat "$work/init.log" >&2; fail "token-broker init wrote no .env"; }
  # What compose.dev.yaml is for compose.yaml.
  cat >"$site/simulated.yaml" <<'YAML'
services:
  simulator-1: &simulator
    image: realtime-token-broker:latest
    command: ["simulate"]
    network_mode: "service:broker-1"
    healthcheck:
      disable: true
  simulator-2:
    <<: *simulator
    network_mode: "service:broker-2"
YAML
  own() { install -m 0400 -o "$1" /dev/stdin "$site/secrets/$2"; }
  echo "redis://:$redis@redis:6379" | own 65532 redis_url
  echo "postgres://broker:$postgres@postgres/broker" | own 65532 database_url
  echo "requirepass $redis" | own 999 redis.conf
  echo "$postgres" | own 70 postgres_password
}

# ---- looking -----------------------------------------------------------------------------------------------------------

# method, path, further options of curl: sends a request through nginx, as a page does.
through_nginx() {
  local method=$1 path=$2
  shift 2
  curl --silent --insecure --max-time 10 --request "$method" --header 'Origin: https://app.example.com' \
    --connect-to "broker.example.com:443:$front" "$@" "https://broker.example.com$path"
}

# path, body: prints the answer. Tries again while nginx finds no broker.
post() {
  through_nginx POST "$1" --retry 20 --retry-delay 1 --retry-all-errors --retry-connrefused --fail \
    --header 'Content-Type: application/json' --dump-header "$work/head" --data "${2:-{\}}"
}

# Asks every 100 ms whether a broker is alive, and never twice. Ends when it is killed.
watch_brokers() {
  : >"$work/statuses"
  while :; do
    through_nginx GET /livez --output /dev/null --write-out '%{http_code}\n' >>"$work/statuses" || echo "curl: $?" >>"$work/statuses"
    sleep 0.1
  done
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# Prints how many sessions the ledger knows.
sessions() {
  compose exec -T "$1" /token-broker usage --by day --json |
    python3 -c 'import json, sys; print(sum(row["sessions"] for row in json.load(sys.stdin)["day"]))'
}

# Takes the service whose ledger is asked, then what is restarted one after the other: services that belong together as one word.
rehearse() {
  local asked=$1 answer session restarted service
  shift
  compose up --detach --no-build >"$work/up.log" 2>&1 || { tail -n 20 "$work/up.log" >&2; fail "it does not start"; }
  front=$(compose port nginx 443)
  answer=$(post /token) || fail "no session: $answer"
  session=$(field sessionId <<<"$answer")
  grep -qi '^x-ratelimit-limit: 77' "$work/head" || { cat "$work/head" >&2; fail "limits.token of .env did not reach the broker"; }
  compose exec -T "$asked" /token-broker config | grep '^session.max_refreshes *= 33 ' >/dev/null ||
    fail "config/broker.toml did not reach the broker"
  keeps "$asked" 1
  for restarted; do
    # Of two brokers, one is always there.
    case $restarted in broker-*) watch_brokers & watch_pid=$! ;; esac
    for service in $restarted; do
      compose restart --timeout 30 "$service" >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "$service cannot be restarted"; }
    done
    [ -z "$watch_pid" ] || nothing_was_lost "$restarted"
    front=$(compose port nginx 443)
    post /token >/dev/null || fail "no session after a restart of $restarted"
  done
  post /refresh-token "{\"sessionId\":\"$session\"}" >/dev/null || fail "the first session was lost"
  keeps "$asked" $(($# + 1))
  compose down --timeout 30 >"$work/up.log" 2>&1 || fail "it cannot be stopped"
  compose up --detach --no-build >"$work/up.log" 2>&1 || { tail -n 20 "$work/up.log" >&2; fail "it does not start again"; }
  front=$(compose port nginx 443)
  post /token >/dev/null || fail "no session after the containers were removed and made again"
  keeps "$asked" $(($# + 2))
  compose down --volumes --timeout 30 >"$work/up.log" 2>&1 || fail "it cannot be removed"
}

# Ends the watch, and fails when one of its requests failed.
nothing_was_lost() {
  local asked lost
  kill "$watch_pid"
  wait "$watch_pid" 2>/dev/null || true
  watch_pid=
  asked=$(wc -l <"$work/statuses")
  lost=$(grep -cvx 200 "$work/statuses" || true)
  [ "$lost" = 0 ] || fail "a restart of $1 lost $lost requests of $asked: $(sort "$work/statuses" | uniq -c | tr '\n' ' ')"
  [ "$asked" -ge 5 ] || fail "only $asked requests were sent during a restart of $1"
  say "a restart of $1 lost none of $asked requests"
}

# Fails when the ledger knows fewer sessions than were opened.
keeps() {
  local known
  known=$(sessions "$1") || fail "the ledger cannot be read"
  [ "$known" -ge "$2" ] || fail "the ledger knows $known sessions of $2"
}

# ---- main ------------------------------------------------------------------------------------------------------------

[ "$(id -u)" = 0 ] || skip "a Docker engine needs root"
mkdir -p "$work"
# One run at a time. The engine does not inherit the lock, which ends with this script.
exec 9>"$work/lock"
flock --nonblock 9 || fail "another run is under way"
trap clean_up EXIT
trap 'exit 130' INT TERM
install_programs
start_engine
if [ -z "$binary" ]; then
  cargo build --quiet --locked
  binary=target/debug/token-broker
fi
binary=$(realpath "$binary")
broker_image
stand_ins
make_site

say "compose.yaml with compose.dev.yaml: one broker, a simulated OpenAI"
project=(-f compose.yaml -f compose.dev.yaml)
rehearse broker "broker simulator" nginx

say "compose.scale.yaml: two brokers, Redis, PostgreSQL"
project=(-f compose.scale.yaml -f simulated.yaml)
rehearse broker-1 "broker-1 simulator-1" "broker-2 simulator-2" redis postgres nginx

say "all passed in $SECONDS s"
