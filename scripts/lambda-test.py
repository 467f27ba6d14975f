"""Plays Lambda's Runtime API for the Lambda Web Adapter, and looks what the broker behind it answers: scripts/lambda-test.sh."""

import base64
import json
import os
import queue
import re
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = "https://app.example.com"
OFFER = "\r\n".join([
    "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=rtcp-mux", "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "a=fingerprint:sha-256 " + ":".join(["AA"] * 32), "a=setup:actpass", "a=mid:0", "a=sendrecv", "a=rtpmap:111 opus/48000/2", "",
])
events, answers = queue.Queue(), {}


class Runtime(BaseHTTPRequestHandler):
    """Gives the adapter one event after the other, and keeps its answers."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.endswith("/extension/event/next"):
            threading.Event().wait()
        name, event = events.get()
        self.say(
            200,
            json.dumps(event).encode(),
            Content_Type="application/json",
            Lambda_Runtime_Aws_Request_Id=name,
            Lambda_Runtime_Deadline_Ms=str(int(time.time() * 1000) + 30_000),
            Lambda_Runtime_Invoked_Function_Arn="arn:aws:lambda:eu-west-1:123456789012:function:token-broker",
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        if self.path.endswith("/extension/register"):
            self.say(200, b"{}", Lambda_Extension_Identifier=str(uuid.uuid4()))
            return
        self.say(202, b"{}")
        name, kind = re.search(r"/invocation/([^/]+)/(response|error)$", self.path).groups()
        answers[name].put((kind, json.loads(body)))

    def chunk(self):
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data


def invoke(event):
    """Returns the answer to an event, as Lambda would have it."""
    name = str(uuid.uuid4())
    answers[name] = queue.Queue()
    events.put((name, event))
    kind, answer = answers[name].get(timeout=60)
    assert kind == "response", answer
    return answer


def headers(address, **more):
    return {
        "host": "abc.lambda-url.eu-west-1.on.aws",
        "origin": PAGE,
        "user-agent": "Mozilla/5.0",
        "x-forwarded-for": address,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        "x-amzn-trace-id": "Root=1-62ecd163-5f302e550dcde3b12402207d",
    } | {name.replace("_", "-"): value for name, value in more.items()}


def version_2(method, path, address, body=None, stage="$default", encoded=False, **more):
    """An event of a function URL, and of an HTTP API."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers(address, **more),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.eu-west-1.on.aws",
            "domainPrefix": "abc",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": address, "userAgent": "Mozilla/5.0"},
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": stage,
            "time": "01/Dec/2026:12:00:00 +0000",
            "timeEpoch": 1796126400000,
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


def version_1(method, path, address):
    """An event of a REST API."""
    plain = headers(address)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": plain,
        "multiValueHeaders": {name: [value] for name, value in plain.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path[1:]},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "resourceId": "r1",
            "resourcePath": "/{proxy+}",
            "stage": "prod",
            "requestId": str(uuid.uuid4()),
            "httpMethod": method,
            "path": f"/prod{path}",
            "protocol": "HTTP/1.1",
            "identity": {"sourceIp": address, "userAgent": "Mozilla/5.0"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def balancer(method, path, address):
    """An event of an application load balancer."""
    group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/token-broker/1"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {},
        "headers": headers(address),
        "body": "",
        "isBase64Encoded": False,
    }


def read(answer):
    body = answer["body"] or ""
    text = base64.b64decode(body).decode() if answer["isBase64Encoded"] else body
    return json.loads(text) if text else None


def granted(what, event):
    answer = invoke(event)
    body = read(answer)
    assert answer["statusCode"] == 200 and body["value"].startswith("ek_"), (what, answer)
    named = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
    named |= {name.lower(): values[0] for name, values in (answer.get("multiValueHeaders") or {}).items()}
    assert named["access-control-allow-origin"] == PAGE, (what, answer)
    print(f"ok  {what}")
    return body


def refused(what, event, code):
    answer = invoke(event)
    body = read(answer)
    assert body["error"]["code"] == code, (what, answer)
    print(f"ok  {what}: {answer['statusCode']} {code}")


def look():
    body = granted("function URL", version_2("POST", "/token", "203.0.113.1"))
    asked = base64.b64encode(json.dumps({"sessionId": body["sessionId"]}).encode()).decode()
    refresh = version_2("POST", "/refresh-token", "203.0.113.1", asked, encoded=True, content_type="application/json")
    again = granted("a refresh whose body is base64", refresh)
    assert again["sessionId"] == body["sessionId"], again
    granted("HTTP API", version_2("POST", "/token", "203.0.113.2", "{}", content_type="application/json"))
    granted("REST API", version_1("POST", "/token", "203.0.113.3"))
    granted("load balancer", balancer("POST", "/token", "203.0.113.4"))
    preflight = version_2("OPTIONS", "/token", "203.0.113.5", access_control_request_method="POST")
    assert invoke(preflight)["statusCode"] in (200, 204), "a preflight"
    print("ok  preflight")
    for number in range(1, 11):
        granted(f"session {number} of an address", version_2("POST", "/token", "198.51.100.7"))
    refused("the address that AWS appended is limited", version_2("POST", "/token", "192.0.2.9, 198.51.100.7"), "rate_limited")
    granted("another address is not", version_2("POST", "/token", "198.51.100.8"))
    offer = version_2("POST", "/calls", "203.0.113.6", OFFER, content_type="application/sdp")
    refused("no call begins", offer, "call_limit")
    queued = invoke({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]})
    assert queued["error"]["code"] == "not_found", queued
    print("ok  an event that is no request reaches no route")


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def main():
    runtime = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    runtime.daemon_threads = True
    threading.Thread(target=runtime.serve_forever, daemon=True).start()
    provider, broker, started = free_port(), free_port(), []
    template = open("config/lambda.yaml").read()
    # The settings of the template that do not belong to an account.
    shipped = dict(re.findall(r'^ +((?:AWS_LWA|BROKER)_\w+): "?([^"\n]+?)"?$', template, re.M))
    shipped.pop("BROKER_REDIS__REPLICAS")
    shipped |= {"AWS_LWA_PORT": str(broker), "BROKER_SERVER__LISTEN": f"127.0.0.1:{broker}"}
    with tempfile.TemporaryDirectory() as room:
        common = {"PATH": os.environ["PATH"], "ALLOWED_ORIGINS": PAGE} | shipped
        served = common | {"OPENAI_API_KEY": "sk-simulated", "OPENAI_BASE_URL": f"http://127.0.0.1:{provider}/v1", "DATABASE_URL": "memory"}
        adapter = common | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "token-broker"}
        adapter |= {"AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
        commands = [
            ([os.environ["BROKER_BINARY"], "simulate", "--listen", f"127.0.0.1:{provider}"], {"PATH": os.environ["PATH"]}),
            ([os.environ["BROKER_BINARY"], "serve"], served),
            ([os.environ["LAMBDA_ADAPTER"]], adapter),
        ]
        log = open(f"{room}/log", "w+")
        try:
            for command, environment in commands:
                started.append(subprocess.Popen(command, env=environment, cwd=room, stdout=log, stderr=log))
            look()
        except BaseException:
            log.seek(0)
            print(log.read()[-4000:])
            raise
        finally:
            for one in started:
                one.terminate()
            for one in started:
                one.wait(timeout=60)
    print("lambda-test: every event was answered as it should be")


main()
