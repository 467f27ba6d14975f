"""Validates manifests: each by its schema, without unknown fields, and all of them against each other.

    kubernetes-check.py DIRECTORY SCHEMAS

DIRECTORY holds the manifests. SCHEMAS holds the unpacked npm package @kubernetes-models/gateway-api, whose schemas are those of
the Gateway API's CRDs. Rules of the API server beyond schemas (CEL, admission) are not checked.
"""

import json
import re
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.34"
GATEWAY = "gateway.networking.k8s.io/v1"
NOT_APPLIED = {"kustomization.yaml", "secret.example.yaml"}


def strict(schema):
    """Returns the schema without unknown fields, as the API server applies it with `--validate=strict`."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema


def gateway_schema(schemas, kind):
    text = (schemas / "gateway.networking.k8s.io" / "v1" / f"{kind}.mjs").read_text()
    schema = json.loads(re.search(r"^const schema = (\{.*?^\});$", text, re.M | re.S)[1])
    # The schema refers to Kubernetes' own metadata by a name that only that package resolves.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return strict(schema)


def complaints(document, schemas):
    """Yields the violations of the schema of the document's kind."""
    try:
        if document["apiVersion"] == GATEWAY:
            jsonschema.Draft202012Validator(gateway_schema(schemas, document["kind"])).validate(document)
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        yield f"{'.'.join(map(str, error.absolute_path)) or 'top'}: {error.message}"
    except (kubernetes_validate.SchemaNotFoundError, FileNotFoundError) as error:
        yield f"no schema: {error}"


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def contradictions(found, secret, listed, files):
    """Yields the contradictions between the files. `found` holds the documents by kind."""
    deployment, service = found["Deployment"]["spec"], found["Service"]["spec"]
    pod, scaling = deployment["template"]["spec"], found["HorizontalPodAutoscaler"]["spec"]
    settings, route = found["ConfigMap"]["data"], found["HTTPRoute"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    containers = pod["containers"] + pod.get("initContainers", [])
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    drain = seconds(settings["BROKER_SERVER__DRAIN_DELAY"]) + seconds(settings["BROKER_SERVER__DRAIN_TIMEOUT"])
    rolling = deployment["strategy"]["rollingUpdate"]
    mount = pod["containers"][0]["volumeMounts"][0]["mountPath"] + "/"
    named = {value.removeprefix(mount) for name, value in settings.items() if name.endswith("_FILE")}
    selectors = [deployment["selector"]["matchLabels"], service["selector"],
                 found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                 found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
                 *(spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"])]
    backends = [ref for rule in route["rules"] for ref in rule["backendRefs"]]
    probes = [pod["containers"][0][f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    yield from (what for what, bad in {
        "the pod is killed within its drain": pod["terminationGracePeriodSeconds"] <= drain,
        "an update takes replicas away": rolling["maxUnavailable"] != 0 or rolling["maxSurge"] < 1,
        "redis.replicas is less than there may be":
            int(settings["BROKER_REDIS__REPLICAS"]) < scaling["maxReplicas"] + rolling["maxSurge"],
        "the deployment and its scaling both own the number of replicas": "replicas" in deployment,
        "fewer than two replicas": scaling["minReplicas"] < 2 or scaling["maxReplicas"] < scaling["minReplicas"],
        "the scaling is not the deployment's":
            scaling["scaleTargetRef"]["name"] != found["Deployment"]["metadata"]["name"],
        "a selector does not select the pods": any(not wanted.items() <= labels.items() for wanted in selectors),
        "the service leads to no port": any(port["targetPort"] not in ports for port in service["ports"]),
        "a probe asks no port": any(probe["port"] not in ports for probe in probes),
        "probes ask the wrong paths": [probe["path"] for probe in probes] != ["/readyz", "/readyz", "/livez"],
        "the network policy lets nobody to the port":
            any(port["port"] not in ports
                for rule in found["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]),
        "the route leads to no service":
            any((ref["name"], ref["port"]) != (found["Service"]["metadata"]["name"], service["ports"][0]["port"])
                for ref in backends),
        "the route is not the gateway's":
            {ref["name"] for ref in route["parentRefs"]} != {found["Gateway"]["metadata"]["name"]},
        "route and gateway answer to different names":
            {listener["hostname"] for listener in found["Gateway"]["spec"]["listeners"]} != set(route["hostnames"]),
        "the secret does not hold the files that are named": named != set(secret["stringData"]),
        "the example of the secret holds values": any(secret["stringData"].values()),
        "the pod mounts another secret": pod["volumes"][0]["secret"]["secretName"] != secret["metadata"]["name"],
        "a container is not locked up": any(one.get("securityContext") != locked for one in containers),
        "a container has no settings": any(
            one["envFrom"][0]["configMapRef"]["name"] != found["ConfigMap"]["metadata"]["name"] for one in containers),
        "the pod may be root": not pod["securityContext"]["runAsNonRoot"] or pod["securityContext"]["runAsUser"] != 65532,
        "the pod has credentials for the cluster": pod["automountServiceAccountToken"] is not False,
        "Services become settings": pod["enableServiceLinks"] is not False,
        "kustomization.yaml does not list all": set(listed) != files - NOT_APPLIED,
    }.items() if bad)


def main(directory, schemas):
    wrong, found = [], {}
    for path in sorted(directory.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "Kustomization":
                listed = document["resources"]
                continue
            wrong += [f"{path.name}: {document['kind']}: {what}" for what in complaints(document, schemas)]
            if document["kind"] in found:
                wrong.append(f"{path.name}: {document['kind']} is there twice")
            found[document["kind"]] = document
    if not wrong:
        secret, files = found.pop("Secret"), {path.name for path in directory.glob("*.yaml")}
        wrong += contradictions(found, secret, listed, files)
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return bool(wrong)


sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
