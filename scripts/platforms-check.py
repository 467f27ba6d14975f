"""Validates the files for platforms: config/cloud-run.yaml, config/fly.toml and config/lambda.yaml.

    platforms-check.py DISCOVERY

DISCOVERY is the document that describes Cloud Run's API v1, as google-api-python-client ships it. Fly publishes no schema: its file
is compared with the fields of its reference that are used here. The schema of lambda.yaml is cfn-lint's business.
"""

import json
import sys
import tomllib

import jsonschema
from ruamel.yaml import YAML

ANNOTATIONS = {
    "run.googleapis.com/ingress",
    "run.googleapis.com/invoker-iam-disabled",
    "autoscaling.knative.dev/minScale",
    "autoscaling.knative.dev/maxScale",
    "run.googleapis.com/cpu-throttling",
    "run.googleapis.com/execution-environment",
}
FLY = {
    "": {"app", "primary_region", "kill_signal", "kill_timeout", "build", "deploy", "env", "http_service", "vm"},
    "build": {"image"},
    "deploy": {"release_command", "strategy"},
    "http_service": {
        "internal_port", "force_https", "auto_stop_machines", "auto_start_machines", "min_machines_running", "concurrency", "checks",
    },
    "http_service.concurrency": {"type", "soft_limit", "hard_limit"},
    "http_service.checks": {"method", "path", "interval", "timeout", "grace_period"},
    "vm": {"size", "memory"},
}
DRAIN = 29  # server.drain_delay and server.drain_timeout by default


def google(schemas, schema):
    """Returns the JSON schema of a type in a discovery document, without unknown fields."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kept = {key: schema[key] for key in ("type", "enum") if key in schema}
    if "properties" in schema:
        kept["properties"] = {name: google(schemas, one) for name, one in schema["properties"].items()}
        kept["additionalProperties"] = False
    elif "additionalProperties" in schema:
        kept["additionalProperties"] = google(schemas, schema["additionalProperties"])
    if "items" in schema:
        kept["items"] = google(schemas, schema["items"])
    return kept


def cloud_run(document, discovery):
    schemas = json.load(open(discovery))["schemas"]
    whole = {"$defs": {name: google(schemas, one) for name, one in schemas.items()}, "$ref": "#/$defs/Service"}
    for error in jsonschema.Draft202012Validator(whole).iter_errors(document):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'top'}: {error.message}"
    template = document["spec"]["template"]
    notes = document["metadata"]["annotations"] | template["metadata"]["annotations"]
    yield from (f"unknown annotation {name}" for name in notes.keys() - ANNOTATIONS)
    (container,) = template["spec"]["containers"]
    env = {one["name"]: one["value"] for one in container["env"]}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    files = {
        f"{mounts[volume['name']]}/{item['path']}" for volume in template["spec"]["volumes"] for item in volume["secret"]["items"]
    }
    seconds = sum(int(env[f"BROKER_SERVER__DRAIN_{part}"].rstrip("s")) for part in ("DELAY", "TIMEOUT"))
    rules = {
        "the instance is frozen between requests": notes["run.googleapis.com/cpu-throttling"] != "false",
        "several instances, and no Redis": notes["autoscaling.knative.dev/maxScale"] != "1" and "REDIS_URL" not in env,
        "it is killed during the drain": seconds >= 10,
        "a secret is not mounted, or not used": files != {value for name, value in env.items() if name.endswith("_FILE")},
        "a variable is set that Cloud Run sets": "PORT" in env,
    }
    yield from (what for what, bad in rules.items() if bad)


def fly(document):
    def unknown(table, where):
        yield from (f"unknown field {where}.{name}" for name in table.keys() - FLY[where])
        for name, value in table.items():
            inner = f"{where}.{name}".lstrip(".")
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and inner != "env":
                    yield from unknown(one, inner)

    yield from unknown(document, "")
    service = document["http_service"]
    rules = {
        "the drain does not begin at SIGTERM": document["kill_signal"] != "SIGTERM",
        "it is killed during the drain": int(document["kill_timeout"].rstrip("s")) <= DRAIN,
        "a machine that watches calls may be stopped": service["auto_stop_machines"] != "off" or service["min_machines_running"] < 1,
        "the check is not that of readiness": [check["path"] for check in service["checks"]] != ["/readyz"],
        "a secret is in the file": any(word in name for name in document["env"] for word in ("KEY", "URL", "SECRET")),
    }
    yield from (what for what, bad in rules.items() if bad)


def aws(document):
    function = document["Resources"]["Broker"]["Properties"]
    env = function["Environment"]["Variables"]
    rules = {
        "a call could begin that nobody watches": env["BROKER_CALL__MAX_LIVE_TOTAL"] != "0",
        "the replicas are not the instances": env["BROKER_REDIS__REPLICAS"] != str(function["ReservedConcurrentExecutions"]),
        "the adapter does not find the broker": env["BROKER_SERVER__LISTEN"] != f"127.0.0.1:{env['AWS_LWA_PORT']}",
    }
    yield from (what for what, bad in rules.items() if bad)


def plain(loader, node):
    """Reads the short forms of CloudFormation, like !Ref, as the objects that they stand for."""
    name = node.tag[1:]
    if name == "GetAtt":
        return {"Fn::GetAtt": node.value.split(".", 1)}
    return {name if name == "Ref" else f"Fn::{name}": node.value}


def read(path):
    yaml = YAML(typ="safe", pure=True)
    for tag in ("!Ref", "!Sub", "!GetAtt"):
        yaml.constructor.add_constructor(tag, plain)
    return yaml.load(open(path))


wrong = [f"config/cloud-run.yaml: {what}" for what in cloud_run(read("config/cloud-run.yaml"), sys.argv[1])]
wrong += [f"config/fly.toml: {what}" for what in fly(tomllib.load(open("config/fly.toml", "rb")))]
wrong += [f"config/lambda.yaml: {what}" for what in aws(read("config/lambda.yaml"))]
print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
sys.exit(bool(wrong))
