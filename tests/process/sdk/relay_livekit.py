"""LiveKit's OpenAI plugin on a relay, with nothing changed but its base URL. Has turns until as many as asked for, or until the
plugin gives up. Prints what it hears as one JSON line each."""

import asyncio
import contextlib
import json
import sys

import aiohttp
from livekit.agents import llm
from livekit.plugins import openai

base_url, key, turns = sys.argv[1], sys.argv[2], int(sys.argv[3])


def tell(**seen):
    print(json.dumps(seen), flush=True)


async def main():
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=base_url, api_key=key, model="gpt-realtime-2.1", turn_detection=None, http_session=http
        )
        session = model.session()
        done, over = asyncio.Queue(), asyncio.Event()

        def heard(event):
            tell(type=event["type"])
            if event["type"] == "response.done":
                response = event["response"]
                tell(status=response["status"], tokens=response["usage"]["total_tokens"])
                done.put_nowait(response)

        def failed(event):
            tell(error=str(event.error), recoverable=event.recoverable)
            if not event.recoverable:
                over.set()

        session.on("openai_server_event_received", heard)
        session.on("error", failed)
        await session.update_instructions("Be brief.")
        context = llm.ChatContext()
        context.add_message(role="user", content="Good day.")
        await session.update_chat_ctx(context)
        for _ in range(turns):
            answer = asyncio.ensure_future(done.get())
            ended = asyncio.ensure_future(over.wait())
            reply = session.generate_reply()
            await asyncio.wait({answer, ended}, return_when=asyncio.FIRST_COMPLETED)
            if over.is_set():
                reply.add_done_callback(lambda reply: reply.exception())
                break
            await reply
        # A session that has given up says why once more.
        with contextlib.suppress(Exception):
            await session.aclose()
        tell(over=over.is_set())


asyncio.run(main())
