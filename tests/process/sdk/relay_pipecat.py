"""pipecat's OpenAI realtime service on a relay, with nothing changed but its base URL. Has one turn. Prints what it hears as one
JSON line each."""

import asyncio
import json
import sys

from pipecat.frames.frames import EndFrame, ErrorFrame, LLMContextFrame, LLMFullResponseEndFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

base_url, key, model = sys.argv[1], sys.argv[2], sys.argv[4]


def tell(**seen):
    print(json.dumps(seen), flush=True)


class Ear(FrameProcessor):
    """Hears the answer, and ends the pipeline after it."""

    def __init__(self):
        super().__init__()
        self.over = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMFullResponseEndFrame):
            tell(status="completed")
            self.over.set()
        await self.push_frame(frame, direction)


async def main():
    service = OpenAIRealtimeLLMService(
        base_url=base_url.replace("http", "ws", 1) + "/realtime",
        api_key=key,
        settings=OpenAIRealtimeLLMService.Settings(model=model, system_instruction="Be brief."),
    )
    ear = Ear()
    worker = PipelineWorker(Pipeline([service, ear]))

    @worker.event_handler("on_pipeline_error")
    async def failed(_, frame: ErrorFrame):
        tell(error=frame.error)
        ear.over.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    context = LLMContext([{"role": "user", "content": "Good day."}])
    await worker.queue_frame(LLMContextFrame(context))
    await ear.over.wait()
    await worker.queue_frame(EndFrame())
    await running


asyncio.run(main())
