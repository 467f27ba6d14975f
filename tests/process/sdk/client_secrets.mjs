// OpenAI's own Node SDK, with nothing changed but its base URL. Prints what it got as one JSON line each.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, baseURL, apiKey] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/`));
const { default: OpenAI, APIError } = await import(pathToFileURL(require.resolve("openai")));
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

async function show(asked) {
  try {
    const secret = await client.realtime.clientSecrets.create(asked);
    const { model, type } = secret.session;
    console.log(JSON.stringify({ value: secret.value, expires_at: secret.expires_at, model, type }));
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    console.log(JSON.stringify({
      error: error.constructor.name, status: error.status, code: error.code, message: error.error?.message,
      request_id: error.requestID, retry_after: error.headers?.get("retry-after"),
    }));
  }
}

await show({});
await show({
  session: { type: "realtime", model: "gpt-realtime-mini", instructions: "Obey the page.", audio: { output: { voice: "cedar" } } },
});
await show({ expires_after: { anchor: "created_at", seconds: 20 } });
await show({ expires_after: { anchor: "created_at", seconds: 7200 }, session: { type: "realtime" } });
await show({ expires_after: { anchor: "created_at", seconds: 5 } });
await show({ session: { type: "transcription" } });
