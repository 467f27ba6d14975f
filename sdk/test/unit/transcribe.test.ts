// Tests transcriptions against a broker in memory: what is sent, what comes back, what goes wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { transcribe, type TranscribeOptions } from '@realtime-token-broker/client/transcribe';

const RECORDING = new Blob(['sound'], { type: 'audio/webm' });
const JSON_TYPE = { 'content-type': 'application/json' };
const EVENTS = { 'content-type': 'text/event-stream' };

interface Asked {
  url: string;
  headers: Headers;
  form: FormData;
}

/** Returns options for a broker that answers so, and what it is asked. */
function broker(answer: () => Response | Promise<Response>, more: TranscribeOptions = {}): [TranscribeOptions, Asked[]] {
  const asked: Asked[] = [];
  const send: typeof fetch = async (url, init) => {
    asked.push({ url: `${url}`, headers: new Headers(init?.headers), form: init?.body as FormData });
    return answer();
  };
  return [{ baseUrl: 'https://broker.test/', fetch: send, ...more }, asked];
}

/** Returns an answer whose body comes in these pieces. */
function pieces(...texts: string[]): Response {
  const encoder = new TextEncoder();
  return new Response(new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(encoder.encode(text));
      controller.close();
    },
  }), { headers: EVENTS });
}

test('a recording is sent as a form with the login, and the text comes back', async () => {
  const answer = { text: 'Hola', usage: { type: 'tokens' } };
  const [options, asked] = broker(() => new Response(JSON.stringify(answer), { headers: JSON_TYPE }), {
    headers: async () => ({ Authorization: 'Bearer mine', 'Content-Type': 'audio/webm' }),
    language: 'es',
    model: 'gpt-4o-transcribe',
  });
  assert.deepEqual(await transcribe(RECORDING, options), answer);
  const [{ url, headers, form }] = asked as [Asked];
  assert.equal(url, 'https://broker.test/v1/audio/transcriptions');
  assert.equal(headers.get('authorization'), 'Bearer mine');
  assert.equal(headers.get('content-type'), null, 'only fetch knows the boundary');
  const { file, ...fields } = Object.fromEntries(form);
  assert.deepEqual(fields, { model: 'gpt-4o-transcribe', language: 'es' });
  assert.equal((file as Blob).type, 'audio/webm');
});

test('the pieces of the text come as they are written, however the stream is cut', async () => {
  const heard: string[] = [];
  const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
  const stream = event({ type: 'transcript.text.delta', delta: 'Ho' }) + event({ type: 'transcript.text.delta', delta: 'la' })
    + event({ type: 'transcript.text.done', text: 'Hola' });
  for (const size of [1, 9, 1000]) {
    const cut = stream.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    const [options, asked] = broker(() => pieces(...cut), { onDelta: (piece) => heard.push(piece) });
    assert.equal((await transcribe(RECORDING, options)).text, 'Hola');
    assert.deepEqual(heard.splice(0), ['Ho', 'la']);
    assert.equal(asked[0]?.form.get('stream'), 'true');
  }
});

test('a model that writes no stream answers a document, which is read as well', async () => {
  const [options] = broker(() => new Response('{"text":"Hola"}', { headers: JSON_TYPE }), { onDelta: () => assert.fail() });
  assert.equal((await transcribe(RECORDING, options)).text, 'Hola');
});

test('a refusal has the code of the broker, and a wait when there is one', async () => {
  const refused = { success: false, error: { code: 'recording_too_large', message: 'Too large.', request_id: 'req_1' } };
  const [options] = broker(() => new Response(JSON.stringify(refused), { status: 413, headers: JSON_TYPE }));
  await assert.rejects(transcribe(RECORDING, options), { code: 'bad_request', brokerCode: 'recording_too_large', retryable: false });
  const [busy] = broker(() => new Response('{}', { status: 503, headers: { 'retry-after': '7' } }));
  await assert.rejects(transcribe(RECORDING, busy), { code: 'upstream_unavailable', retryAfterMs: 7000, retryable: true });
});

test('what is no transcript, a stream without its end and a lost connection have codes', async () => {
  for (const answer of [() => new Response('<p>'), () => new Response('{}'), () => pieces('data: {"type":"transcript.text.delta"}\n\n')]) {
    const [options] = broker(answer, { onDelta() {} });
    await assert.rejects(transcribe(RECORDING, options), { code: 'invalid_response' });
  }
  const [lost] = broker(() => Promise.reject(new TypeError('reset')));
  await assert.rejects(transcribe(RECORDING, lost), { code: 'network', retryable: true });
  const [left] = broker(() => Promise.reject(new DOMException('', 'AbortError')), { signal: AbortSignal.abort() });
  await assert.rejects(transcribe(RECORDING, left), { code: 'aborted', retryable: false });
  const [wrong] = broker(() => assert.fail(), { headers: () => Promise.reject(new Error('no login')) });
  await assert.rejects(transcribe(RECORDING, wrong), { code: 'unauthorized' });
});
