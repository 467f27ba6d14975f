// Tests OpenAI's own clients at the relay of the real broker: nothing is changed but the base URL.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { createServer } from 'node:tls';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { type RealBroker, startBroker } from '../broker.js';

/** The model of the persona. */
const MODEL = 'gpt-realtime-2.1';

let broker: RealBroker;
before(async () => {
  broker = await startBroker('auth.mode=off', 'limits.token=1000/60s', 'call.max_live_network=100');
});
after(() => broker.stop());

/** Puts TLS in front of the broker, because the package `openai` opens no other WebSocket. Returns the port and the certificate. */
async function withTls(t: TestContext): Promise<{ port: number; ca: string }> {
  const room = mkdtempSync(join(tmpdir(), 'relay-'));
  const [key, cert] = [join(room, 'key.pem'), join(room, 'cert.pem')];
  const flags = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1`;
  execFileSync('openssl', [...flags.split(' '), '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const ca = readFileSync(cert, 'utf8');
  const server = createServer({ key: readFileSync(key), cert: ca }, (socket) => {
    const way = connect(Number(new URL(broker.url).port), '127.0.0.1');
    socket.on('error', () => way.destroy()).on('close', () => way.destroy());
    way.on('error', () => socket.destroy()).on('close', () => socket.destroy());
    socket.pipe(way).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  rmSync(room, { recursive: true });
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, ca };
}

test('openai for Node talks through the relay, and hears what the model says', async (t) => {
  const { port, ca } = await withTls(t);
  const client = new OpenAI({ baseURL: `https://127.0.0.1:${port}/v1`, apiKey: 'any text, where nobody signs in' });
  const socket = new OpenAIRealtimeWS({ model: MODEL, options: { ca } }, client);
  t.after(() => socket.close());
  const [instructions, said, usage] = await new Promise<[unknown, string, unknown]>((resolve, reject) => {
    let [told, words]: [unknown, string] = ['', ''];
    socket.on('error', reject);
    socket.on('session.created', ({ session }) => {
      told = (session as { instructions?: string }).instructions;
      const item = { type: 'message' as const, role: 'user' as const, content: [{ type: 'input_text' as const, text: 'Hello' }] };
      socket.send({ type: 'conversation.item.create', item });
      socket.send({ type: 'response.create' });
    });
    socket.on('response.output_audio_transcript.delta', ({ delta }) => (words += delta));
    socket.on('response.done', ({ response }) => resolve([told, words, response.usage?.total_tokens]));
  });
  assert.match(`${instructions}`, /friendly voice assistant/, 'the persona of the operator');
  assert.equal(said, 'A simulated answer.');
  assert.ok(Number(usage) > 0);
});

test('agents-js talks through the relay by its WebSocket, and its own instructions reach nobody', async (t) => {
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant', instructions: 'You are a pirate.' }), { transport: 'websocket', model: MODEL });
  t.after(() => session.close());
  const sessions: string[] = [];
  const done = new Promise<void>((resolve, reject) => {
    session.on('error', ({ error }) => reject(new Error(JSON.stringify(error))));
    session.on('transport_event', (event) => {
      const { type } = event;
      if (type === 'session.created' || type === 'session.updated') sessions.push(`${Object((event as { session?: object }).session)['instructions' as never]}`);
      if (type === 'response.done') resolve();
    });
  });
  await session.connect({ apiKey: 'any text', url: `${broker.url.replace('http', 'ws')}/v1/realtime?model=${MODEL}` });
  session.sendMessage('Hello');
  await done;
  assert.ok(session.usage.totalTokens > 0);
  assert.ok(sessions.length >= 2, 'the client has sent its update, and it was answered');
  for (const instructions of sessions) assert.match(instructions, /friendly voice assistant/);
});
