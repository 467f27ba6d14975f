// Tests transcriptions against the real broker over HTTP.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { transcribe } from '@realtime-token-broker/client/transcribe';
import { type RealBroker, startBroker } from '../broker.js';

let broker: RealBroker;
before(async () => {
  broker = await startBroker('transcription.models=gpt-4o-mini-transcribe', 'call.max_live_network=100');
});
after(() => broker.stop());

const RECORDING = new Blob([new Uint8Array(64_000)], { type: 'audio/webm;codecs=opus' });
const TEXT = 'Simulated transcript of 64000 bytes.';

test('a recording becomes text, whole and piece by piece', async () => {
  const { text, usage } = await transcribe(RECORDING, { baseUrl: broker.url });
  assert.equal(text, TEXT);
  assert.equal((usage as { type: string }).type, 'tokens');
  const heard: string[] = [];
  const streamed = await transcribe(RECORDING, { baseUrl: broker.url, prompt: 'bytes', onDelta: (piece) => heard.push(piece) });
  assert.equal(streamed.text, TEXT);
  assert.equal(heard.join(''), TEXT);
  assert.equal(heard.length, 5);
});

test('refusals of the broker are told apart', async () => {
  const options = { baseUrl: broker.url };
  await assert.rejects(transcribe(RECORDING, { ...options, model: 'o3' }), { code: 'forbidden', brokerCode: 'model_not_allowed', param: 'model' });
  await assert.rejects(transcribe(new Blob(['x'], { type: 'text/plain' }), options), { brokerCode: 'unsupported_recording', status: 415 });
  await broker.fail('400', 1, 'transcribe');
  await assert.rejects(transcribe(RECORDING, options), { code: 'bad_request', brokerCode: 'recording_refused', retryable: false });
});
