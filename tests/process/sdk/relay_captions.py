"""OpenAI's own Python SDK on a relay that only transcribes, with nothing changed but its base URL. Speaks once. Prints what it
hears as one JSON line each."""

import asyncio
import json
import sys

import openai

base_url, key = sys.argv[1], sys.argv[2]
SILENCE = "A" * 6400


def tell(**seen):
    print(json.dumps(seen), flush=True)


async def main():
    client = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        async for event in connection:
            tell(type=event.type)
            if event.type == "session.created":
                audio = {"input": {"turn_detection": None}}
                await connection.session.update(session={"type": "transcription", "audio": audio})
                await connection.input_audio_buffer.append(audio=SILENCE)
                await connection.input_audio_buffer.commit()
            if event.type == "conversation.item.input_audio_transcription.completed":
                tell(transcript=event.transcript)
                return


asyncio.run(main())
