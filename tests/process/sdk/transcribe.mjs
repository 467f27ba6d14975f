// OpenAI's own Node SDK transcribes with nothing changed but its base URL. Prints what it got as one JSON line each.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, baseURL, apiKey] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { default: OpenAI, APIError, toFile } = await import(pathToFileURL(require.resolve("openai")));
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

const show = (seen) => console.log(JSON.stringify(seen));
const ask = async (more) => client.audio.transcriptions.create({
  file: await toFile(Buffer.alloc(64_000), "talk.wav"), model: "gpt-4o-transcribe", ...more,
});

const whole = await ask({ include: ["logprobs"] });
show({ text: whole.text, seconds: whole.usage.seconds ?? null });

let deltas = 0;
let done;
for await (const event of await ask({ stream: true, chunking_strategy: { type: "server_vad" } })) {
  deltas += event.type === "transcript.text.delta";
  done = event;
}
show({ deltas, text: done.text, input_tokens: done.usage.input_tokens });

show({ text: await ask({ model: "whisper-1", response_format: "text", temperature: 0.2 }) });

try {
  await ask({ model: "gpt-transcribe" });
} catch (error) {
  if (!(error instanceof APIError)) throw error;
  show({ status: error.status, code: error.code });
}
