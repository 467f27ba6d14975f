"""OpenAI's own Python SDK on a relay, with nothing changed but its base URL. Has two turns, each on a connection that ends by
the SDK's own means or by the other side. Prints what it hears as one JSON line each."""

import asyncio
import json
import sys

import openai

base_url, key, turns, model = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def tell(**seen):
    print(json.dumps(seen), flush=True)


def reconnecting(event):
    tell(again=event.close_code)


async def ask(connection):
    await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    content = [{"type": "input_text", "text": "Good day."}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
    await connection.response.create()


async def main():
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    done = 0
    async with client.realtime.connect(model=model, on_reconnecting=reconnecting, max_retries=20) as connection:
        async for event in connection:
            tell(type=event.type)
            if event.type == "session.created":
                await ask(connection)
            if event.type == "response.done":
                tell(status=event.response.status, tokens=event.response.usage.total_tokens)
                done += 1
                if done == turns:
                    return


asyncio.run(main())
