"""OpenAI's own Python SDK transcribes with nothing changed but its base URL. Prints what it got as one JSON line each."""

import io
import json
import sys

import openai

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)


def recording():
    file = io.BytesIO(bytes(64_000))
    file.name = "talk.wav"
    return file


def show(**seen):
    print(json.dumps(seen))


whole = client.audio.transcriptions.create(file=recording(), model="gpt-4o-transcribe", include=["logprobs"])
show(text=whole.text, seconds=getattr(whole.usage, "seconds", None))

deltas, done = 0, None
for event in client.audio.transcriptions.create(file=recording(), model="gpt-4o-transcribe", stream=True):
    deltas += event.type == "transcript.text.delta"
    done = event
show(deltas=deltas, text=done.text, input_tokens=done.usage.input_tokens)

show(text=client.audio.transcriptions.create(file=recording(), model="whisper-1", response_format="text", temperature=0.2))

try:
    client.audio.transcriptions.create(file=recording(), model="gpt-transcribe")
except openai.APIStatusError as error:
    show(status=error.status_code, code=error.code)
