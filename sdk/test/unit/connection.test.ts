// Tests a connection without a browser: which key, whose stream, and endings that fail. E60, E62, E65.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  type ConnectContext,
  type ConnectionError,
  createRealtimeConnection,
  openCall,
  type RealtimeCall,
  type RealtimeConnection,
  type RealtimeConnectionOptions,
} from '@realtime-token-broker/client/webrtc';
import { createTokenManager } from '@realtime-token-broker/client';
import { createFakeBroker, createFakeClock, type FakeClock } from '@realtime-token-broker/client/testing';
import { pretend, pretendPeers } from '../peers.js';
import { bench, type Bench, HOUR, outcome, SECOND } from '../setup.js';

interface Stage extends Bench {
  connection: RealtimeConnection;
  contexts: ConnectContext[];
}

/** A connection whose calls are made by `connect`. */
function stage(t: TestContext, connect: (context: ConnectContext, nth: number) => unknown, options: Partial<RealtimeConnectionOptions> = {}): Stage {
  const made = bench(t);
  const contexts: ConnectContext[] = [];
  const connection = createRealtimeConnection({ tokens: made.tokens, microphone: false, ...options });
  connection.options = {
    ...connection.options,
    connect: async (context) => connect(context, contexts.push(context)) as RealtimeCall,
  };
  t.after(() => connection.disconnect());
  return { ...made, connection, contexts };
}

/** Turns the clock until `holds`, for two seconds at most. */
const until = async (clock: FakeClock, holds: () => unknown): Promise<void> => {
  for (let turn = 0; turn < 200 && !holds(); turn++) await clock.advance(10);
  assert.ok(holds());
};

function stream(): MediaStream & { stopped: number } {
  const made = { stopped: 0, getTracks: () => [{ stop: () => made.stopped++ }], getAudioTracks: () => [] };
  return made as unknown as MediaStream & { stopped: number };
}

test('E65 a connection that breaks is made again with the same key while that is young, and with a new one later', async (t) => {
  const { connection, contexts, clock, broker } = stage(t, () => ({}));
  await connection.connect();
  contexts[0]?.lost();
  await until(clock, () => contexts.length === 2);
  assert.equal(contexts[1]?.apiKey, contexts[0]?.apiKey);
  assert.equal(broker.requests.length, 1);
  await until(clock, () => connection.getSnapshot().status === 'connected');
  await clock.advance(11 * SECOND);
  contexts[1]?.lost();
  await until(clock, () => contexts.length === 3);
  assert.notEqual(contexts[2]?.apiKey, contexts[0]?.apiKey);
  assert.deepEqual(broker.paths, ['/token', '/refresh-token']);
});

test('E65 a key that was refused is never used again, young or not', async (t) => {
  const { connection, contexts, clock, broker } = stage(t, () => ({}));
  await connection.connect();
  contexts[0]?.lost(Object.assign(new Error('unauthorized'), { status: 401 }));
  await until(clock, () => contexts.length === 2);
  assert.notEqual(contexts[1]?.apiKey, contexts[0]?.apiKey);
  assert.equal(broker.requests.length, 2);
});

test('E65 reconnect: undefined is the default', async (t) => {
  const options = { reconnect: undefined } as unknown as Partial<RealtimeConnectionOptions>;
  const { connection } = stage(t, () => ({}), options);
  assert.equal(connection.options.reconnect, 3);
});

test('E62 your own stream stays yours and ours is stopped, whatever the options say at the end', async (t) => {
  const [mine, ours] = [stream(), stream()];
  pretend(t, { navigator: { mediaDevices: { getUserMedia: async () => ours } } });
  const own = stage(t, () => ({}), { microphone: mine });
  await own.connection.connect();
  own.connection.options = { ...own.connection.options, microphone: true };
  own.connection.disconnect();
  assert.equal(mine.stopped, 0);
  const opened = stage(t, () => ({}), { microphone: true });
  await opened.connection.connect();
  opened.connection.options = { ...opened.connection.options, microphone: ours };
  opened.connection.disconnect();
  assert.equal(ours.stopped, 1);
});

test('E62 a microphone that comes too late is stopped, also when another attempt has one already', async (t) => {
  const [late, next] = [stream(), stream()];
  let allow = (_: MediaStream): void => {};
  const answers = [new Promise<MediaStream>((resolve) => (allow = resolve)), Promise.resolve(next)];
  pretend(t, { navigator: { mediaDevices: { getUserMedia: () => answers.shift() } } });
  const { connection } = stage(t, () => ({}), { microphone: true });
  const first = connection.connect();
  connection.disconnect();
  await connection.connect();
  allow(late);
  await first;
  assert.deepEqual([late.stopped, next.stopped], [1, 0]);
  connection.disconnect();
  assert.deepEqual([late.stopped, next.stopped], [1, 1]);
});

test('E62 disconnect() during the pause before another attempt asks for no microphone', async (t) => {
  let asked = 0;
  pretend(t, { navigator: { mediaDevices: { getUserMedia: async () => (asked++, stream()) } } });
  const { connection, contexts } = stage(t, () => ({}), { microphone: true });
  await connection.connect();
  contexts[0]?.lost();
  const again = connection.connect();
  connection.disconnect();
  await again;
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(asked, 1);
  assert.equal(connection.getSnapshot().status, 'disconnected');
});

test('E62 a session whose close() throws or rejects does not break disconnect() or another attempt', async (t) => {
  const closings = [
    () => {
      throw new Error('closed already');
    },
    () => Promise.reject(new Error('closed already')),
  ];
  for (const close of closings) {
    const { connection, contexts, clock } = stage(t, () => ({ close }));
    await connection.connect();
    contexts[0]?.lost();
    await until(clock, () => contexts.length === 2 && connection.getSnapshot().status === 'connected');
    connection.disconnect();
    assert.equal(connection.getSnapshot().status, 'disconnected');
    await connection.connect();
    assert.equal(connection.getSnapshot().status, 'connected');
  }
});

test('sessionWillExpire comes when it should on a device whose clock is wrong', async (t) => {
  for (const skew of [0, -HOUR, HOUR, 25 * HOUR]) {
    const clock = createFakeClock();
    const now = (): number => clock.wall() + skew;
    const peers = pretendPeers(t);
    const tokens = createTokenManager({ fetch: createFakeBroker({ now }).fetch, baseUrl: 'https://broker.test', clock });
    t.after(() => tokens.destroy());
    const answer = (async () => new Response('v=0')) as typeof fetch;
    const connection = createRealtimeConnection({ tokens, microphone: false, audio: null, fetch: answer, warnBeforeMs: 60_000 });
    t.after(() => connection.disconnect());
    const told: number[] = [];
    connection.on('sessionWillExpire', ({ expiresAt }) => told.push(expiresAt));
    await connection.connect();
    assert.equal(connection.getSnapshot().error, null);
    const created = (inSeconds: number): void => {
      const session = { expires_at: Math.floor(now() / 1000) + inSeconds };
      peers.at(-1)?.channel.onmessage?.({ data: JSON.stringify({ type: 'session.created', session }) });
    };
    created(90);
    await clock.advance(28 * SECOND);
    assert.deepEqual(told, [], `too early with the clock off by ${-skew}`);
    await clock.advance(3 * SECOND);
    assert.equal(told.length, 1);
  }
});

test('events of GPT-Live have the names of the Realtime API where they mean the same, and raw ones keep their own', async (t) => {
  const clock = createFakeClock();
  const peers = pretendPeers(t);
  const tokens = createTokenManager({ fetch: createFakeBroker({ now: () => clock.wall() }).fetch, baseUrl: 'https://broker.test', clock });
  const answer = (async () => new Response('v=0')) as typeof fetch;
  const connection = createRealtimeConnection({ tokens, microphone: false, audio: null, fetch: answer });
  t.after(() => {
    connection.disconnect();
    tokens.destroy();
  });
  const [told, raw]: [unknown[], string[]] = [[], []];
  connection.on('event', ({ type, delta }) => told.push(delta ? [type, delta] : type));
  connection.on('raw', ({ type }) => raw.push(type));
  connection.on('sessionWillExpire', () => told.push('sessionWillExpire'));
  await connection.connect();
  const sent = [
    { type: 'session.started', session: { expires_at: Math.floor(clock.wall() / 1000) + 90 } },
    { type: 'session.input_transcript.delta', delta: 'Hello', start_ms: 0, end_ms: 300 },
    { type: 'session.output_transcript.delta', delta: 'Hi', start_ms: 400, end_ms: 500 },
    { type: 'session.closed', reason: 'expired' },
  ];
  for (const event of sent) peers.at(-1)?.channel.onmessage?.({ data: JSON.stringify(event) });
  await clock.advance(31 * SECOND);
  assert.deepEqual(told, [
    'session.created',
    ['conversation.item.input_audio_transcription.delta', 'Hello'],
    ['response.output_audio_transcript.delta', 'Hi'],
    'session.closed',
    'sessionWillExpire',
  ]);
  assert.deepEqual(raw, sent.map(({ type }) => type));
});

test('f24 the offer goes where the key came from, unless the page names another URL, and to OpenAI when neither says', async (t) => {
  pretendPeers(t);
  const azure = 'https://mine.openai.azure.com/openai/v1/realtime/calls';
  for (const [connect, url, expected] of [
    [{ mode: 'direct', calls: azure }, undefined, azure],
    [{ mode: 'direct', calls: azure }, 'https://own.example/calls', 'https://own.example/calls'],
    [undefined, undefined, 'https://api.openai.com/v1/realtime/calls'],
    [{}, undefined, 'https://api.openai.com/v1/realtime/calls'],
  ] as const) {
    const asked: unknown[] = [];
    const answer = (async (input) => (asked.push(input), new Response('v=0'))) as typeof fetch;
    const { connection, broker } = stage(t, (context) => openCall(context, { audio: null, fetch: answer, ...(url && { url }) }, () => {}));
    broker.next(broker.token({ connect }));
    await connection.connect();
    assert.equal(connection.getSnapshot().status, 'connected');
    assert.deepEqual(asked, [expected]);
  }
});

test('an offer that finds no way is told as network with its cause, also when its answer breaks off', async (t) => {
  pretendPeers(t);
  const fault = new TypeError('Failed to fetch');
  const breaksOff = (): Response => new Response(new ReadableStream({ pull: () => Promise.reject(fault) }));
  for (const answer of [() => Promise.reject(fault), breaksOff]) {
    const { connection, broker } = stage(t, (context) => openCall(context, { audio: null, fetch: async () => answer() }, () => {}));
    await connection.connect();
    const { status, error } = connection.getSnapshot();
    assert.equal(status, 'disconnected');
    const { name, code, message, hint, cause } = error as ConnectionError;
    assert.deepEqual([name, code, cause], ['ConnectionError', 'network', fault]);
    assert.match(hint, /CORS or Content-Security-Policy/);
    assert.equal(message, hint);
    assert.equal(broker.requests.length, 1, 'no new key for it');
  }
});

test('E64 a peer that stays disconnected for graceMs is replaced, and one that comes back in time is not', async (t) => {
  const peers = pretendPeers(t);
  const answer = (async () => new Response('v=0')) as typeof fetch;
  const { connection, clock } = stage(t, (context) => openCall(context, { audio: null, fetch: answer, graceMs: 300 }, () => {}));
  const reasons: unknown[] = [];
  connection.on('contextLost', ({ reason }) => reasons.push(reason));
  await connection.connect();
  const become = (state: string): void => {
    const peer = peers.at(-1);
    if (peer) peer.connectionState = state;
    peer?.onconnectionstatechange?.();
  };
  become('disconnected');
  await clock.advance(299);
  become('connected');
  await clock.advance(1000);
  assert.equal(connection.getSnapshot().status, 'connected');
  become('disconnected');
  await clock.advance(299);
  assert.equal(connection.getSnapshot().status, 'connected');
  await clock.advance(1);
  assert.equal(connection.getSnapshot().status, 'connecting');
  await clock.advance(SECOND);
  // The answer is read by turns of the event loop, which the clock does not turn.
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(connection.getSnapshot().status, 'connected');
  assert.deepEqual(reasons.map((reason) => (reason as ConnectionError).code), ['lost']);
  assert.equal(peers.length, 2);
});

test('an offer that nobody answers is a timeout after timeoutMs, and its request is cancelled', async (t) => {
  let closed = 0;
  class Peer {
    createDataChannel = (): object => ({ close() {} });
    addTransceiver(): void {}
    createOffer = async (): Promise<object> => ({ sdp: 'v=0' });
    async setLocalDescription(): Promise<void> {}
    close = (): number => closed++;
  }
  pretend(t, { RTCPeerConnection: Peer, MediaStream: class {} });
  for (const body of [false, true]) {
    const clock = createFakeClock();
    let signal: AbortSignal | null | undefined;
    const context: ConnectContext = { apiKey: 'ek_test', signal: new AbortController().signal, stream: null, lost: () => {}, clock };
    // Both ignore the signal.
    const hangs = (async (_, init) => {
      signal = init?.signal;
      return body ? new Response(new ReadableStream()) : new Promise(() => {});
    }) as typeof fetch;
    const calling = outcome(openCall(context, { audio: null, timeoutMs: 3000, fetch: hangs }, () => {}));
    await clock.advance(3000);
    const error = (await calling) as ConnectionError;
    assert.equal(error.code, 'timeout');
    assert.equal(signal?.aborted, true);
  }
  assert.equal(closed, 2);
});
