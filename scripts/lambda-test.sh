#!/usr/bin/env bash
# Replays the events of AWS Lambda through AWS' own Lambda Web Adapter to a broker with a simulated OpenAI: function URL, HTTP API,
# REST API, load balancer, and events that are no requests. A small server plays Lambda's Runtime API. Nothing is asked of AWS.
#
#   scripts/lambda-test.sh                            with target/debug/token-broker, which cargo build makes
#   BROKER_BINARY=… LAMBDA_ADAPTER=… scripts/lambda-test.sh
#
# Compiles the adapter below target/ops-tools once, which takes minutes. So this is a job of its own in .github/workflows/ci.yml, not
# a step of scripts/test.sh.

set -euo pipefail
cd "$(dirname "$0")/.."

adapter_version=1.0.0-rc1 # the newest on crates.io; images have 1.0.0
tools=$PWD/target/ops-tools
export BROKER_BINARY="${BROKER_BINARY:-$PWD/target/debug/token-broker}"
export LAMBDA_ADAPTER="${LAMBDA_ADAPTER:-$tools/bin/lambda-adapter}"

[ -x "$BROKER_BINARY" ] || { echo "lambda-test: no broker at $BROKER_BINARY: run cargo build, or set BROKER_BINARY" >&2; exit 1; }
if [ ! -x "$LAMBDA_ADAPTER" ]; then
  echo "lambda-test: installing the adapter $adapter_version into target/ops-tools"
  cargo install --quiet --locked --debug --root "$tools" "lambda_web_adapter@$adapter_version"
fi
exec python3 scripts/lambda-test.py
