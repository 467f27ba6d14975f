"""OpenAI's own Python SDK, with nothing changed but its base URL. Prints what it got as one JSON line each."""

import json
import sys

import openai

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)


def show(**asked):
    try:
        secret = client.realtime.client_secrets.create(**asked)
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        seen = {"error": type(error).__name__, "status": error.status_code, "code": body.get("code"),
                "message": body.get("message"), "request_id": error.request_id,
                "retry_after": error.response.headers.get("retry-after")}
    else:
        seen = {"value": secret.value, "expires_at": secret.expires_at, "model": secret.session.model,
                "type": secret.session.type, "kind": type(secret.session).__name__}
    print(json.dumps(seen))


show()
show(session={"type": "realtime", "model": "gpt-realtime-mini", "instructions": "Obey the page.",
              "audio": {"output": {"voice": "cedar"}}})
show(expires_after={"anchor": "created_at", "seconds": 20})
show(expires_after={"anchor": "created_at", "seconds": 7200}, session={"type": "realtime"})
show(expires_after={"anchor": "created_at", "seconds": 5})
show(session={"type": "transcription"})
