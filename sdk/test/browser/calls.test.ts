// Tests calls in Chromium with a peer that plays the model: E60 to E65, E67, levels and the examples.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { connect, Stage, told } from './stage.js';

let stage: Stage;
before(async () => {
  stage = await Stage.set();
});
after(() => stage?.strike());
afterEach(() => stage.clear());

test('a call connects, carries events both ways, and its levels move', async () => {
  const page = await stage.caller();
  assert.equal(await connect(page), 'connected');
  await told(page, 'session.created');
  assert.equal(await page.evaluate(() => window.connection.send({ type: 'session.update' })), true);
  await told(page, 'heard');
  await told(page, 'sessionWillExpire');
  const seen = await page.evaluate(async () => {
    const { session, timings } = window.connection.getSnapshot();
    const meters = [session?.remote, (await navigator.mediaDevices.getUserMedia({ audio: true }))].map((stream) => window.lab.createLevelMeter(stream as MediaStream));
    let peaks = [0, 0];
    for (let n = 0; n < 100 && Math.min(...peaks) < 0.05; n++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      peaks = meters.map((meter, k) => Math.max(meter.read(), peaks[k] ?? 0));
    }
    for (const meter of meters) meter.close();
    window.connection.mute(true);
    const muted = session?.peer?.getSenders()[0]?.track?.enabled;
    return { peaks, muted, callId: session?.callId, steps: Object.keys(timings), sdp: session?.timings.sdp };
  });
  assert.ok(Math.min(...seen.peaks) > 0.05, `${seen.peaks}`);
  assert.equal(seen.muted, false);
  assert.equal(seen.callId, 'rtc_test');
  assert.deepEqual(seen.steps, ['microphone', 'key', 'connect']);
  assert.deepEqual(Object.keys(stage.offers[0]?.headers ?? {}).filter((name) => name.startsWith('x-')), []);
});

test('E60 a key that dies between mint and offer is replaced once', async () => {
  const page = await stage.caller();
  stage.refusals.push(401);
  await page.evaluate(() => window.tokens.requestToken());
  assert.equal(await connect(page), 'connected');
  assert.equal(stage.offers.length, 2);
  assert.notEqual(stage.offers[0]?.authorization, stage.offers[1]?.authorization);
  const again = await stage.caller();
  stage.refusals.push(401, 401);
  assert.match(await connect(again), /refused/);
});

test('E61 the key is minted after the microphone was allowed, however long that takes', async () => {
  const page = await stage.caller();
  const before = await page.evaluate(async () => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    let allow = (): void => {};
    const prompt = new Promise<void>((resolve) => (allow = resolve));
    navigator.mediaDevices.getUserMedia = async (constraints) => (await prompt, real(constraints));
    const connecting = window.connection.connect();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const asked = window.told.includes('tokenRefreshed');
    allow();
    await connecting;
    return asked;
  });
  assert.equal(before, false);
  assert.deepEqual((await page.evaluate(() => window.told)).slice(0, 3), ['connecting', 'tokenRefreshed', 'connected']);
});

test('E62 disconnecting while connecting stops the microphone, and the next connect works', async () => {
  const page = await stage.caller();
  stage.refusals.push(0);
  const states = await page.evaluate(async () => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    const streams: MediaStream[] = [];
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      streams.push(await real(constraints));
      return streams.at(-1) as MediaStream;
    };
    void window.connection.connect();
    while (!streams.length) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 300));
    window.connection.disconnect();
    return [window.connection.getSnapshot().status, streams[0]?.getTracks()[0]?.readyState];
  });
  assert.deepEqual(states, ['disconnected', 'ended']);
  assert.equal(await connect(page), 'connected');
});

test('E63 a microphone that was denied and is then allowed needs no remount', async () => {
  const page = await stage.caller({ granted: false });
  assert.match(await connect(page), /microphone/i);
  assert.equal(await page.evaluate(() => window.told.includes('tokenRefreshed')), false);
  await page.context().grantPermissions(['microphone'], { origin: stage.pageUrl });
  assert.equal(await connect(page), 'connected');
});

test('a stream of your own is used and stays yours', async () => {
  const page = await stage.caller();
  const state = await page.evaluate(async (url) => {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    const connection = window.lab.createRealtimeConnection({ tokens: window.tokens, url, microphone });
    await connection.connect();
    connection.disconnect();
    return microphone.getTracks()[0]?.readyState;
  }, stage.callsUrl);
  assert.equal(state, 'live');
});

test('E64 a peer that is disconnected for 3 s keeps the call', async () => {
  const page = await stage.caller();
  await connect(page);
  const states = await page.evaluate(async () => {
    const peer = window.connection.getSnapshot().session?.peer as RTCPeerConnection;
    const become = (state: string): void => {
      Object.defineProperty(peer, 'connectionState', { value: state, configurable: true });
      peer.dispatchEvent(new Event('connectionstatechange'));
    };
    become('disconnected');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const during = window.connection.getSnapshot().status;
    become('connected');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    return [during, window.connection.getSnapshot().status, `${window.told.includes('contextLost')}`];
  });
  assert.deepEqual(states, ['connected', 'connected', 'false']);
});

test('E65 a peer that failed is replaced with a new key, and the loss of context is told', async () => {
  const page = await stage.caller();
  await connect(page);
  // A key younger than 10 s would serve again.
  await new Promise((resolve) => setTimeout(resolve, 10_500));
  await page.evaluate(() => {
    const peer = window.connection.getSnapshot().session?.peer as RTCPeerConnection;
    Object.defineProperty(peer, 'connectionState', { value: 'failed' });
    peer.dispatchEvent(new Event('connectionstatechange'));
  });
  await told(page, 'contextLost');
  assert.equal(await page.evaluate(() => window.connection.getSnapshot().status), 'connected');
  assert.equal(stage.offers.length, 2);
  assert.notEqual(stage.offers[0]?.authorization, stage.offers[1]?.authorization);
});

test('E65 a model that hangs up is noticed too, and without reconnect it is told why', async () => {
  const page = await stage.caller();
  await page.evaluate(() => (window.connection.options.reconnect = 0));
  await connect(page);
  await stage.hangUp();
  await told(page, 'disconnected');
  assert.equal(await page.evaluate(() => (window.connection.getSnapshot().error as { code?: string } | null)?.code), 'lost');
});

test('E65 when every reconnect fails too the last failure is told, and connect() starts anew', async () => {
  const page = await stage.caller();
  await page.evaluate(() => (window.connection.options.reconnect = 1));
  await connect(page);
  stage.refusals.push(500);
  await stage.hangUp();
  await told(page, 'disconnected');
  const [message, lost] = await page.evaluate(() => [window.connection.getSnapshot().error?.message, window.told.includes('contextLost')]);
  assert.match(`${message}`, /refused with 500: expired/);
  assert.equal(lost, false);
  assert.equal(await connect(page), 'connected');
});

test('an answer that is no SDP, and a peer that cannot be reached, are told apart', async () => {
  const page = await stage.page();
  const codes = await page.evaluate(async () => {
    const html: typeof fetch = async () => new Response('<html>', { headers: { 'content-type': 'text/html' } });
    const nowhere: typeof fetch = async (_, init) => {
      const peer = new RTCPeerConnection();
      await peer.setRemoteDescription({ type: 'offer', sdp: `${init?.body}` });
      const { sdp } = await peer.createAnswer();
      peer.close();
      return new Response(sdp);
    };
    const codes: unknown[] = [];
    for (const fetch of [html, nowhere]) {
      const connection = window.lab.createRealtimeConnection({ tokens: window.tokens, fetch, microphone: false, openTimeoutMs: 500 });
      await connection.connect();
      codes.push((connection.getSnapshot().error as { code?: string } | null)?.code);
    }
    return codes;
  });
  assert.deepEqual(codes, ['invalid_answer', 'timeout']);
});

test('E67 agents-js connects unmodified, across origins, with keys of the real broker', async () => {
  const page = await stage.page();
  const status = await page.evaluate(async (url) => {
    const session = await window.lab.converse(window.tokens, url);
    const { status } = session.transport;
    session.close();
    return status;
  }, stage.callsUrl);
  assert.equal(status, 'connected');
  assert.match(stage.offers[0]?.authorization ?? '', /^Bearer ek_sim_/);
  assert.ok(stage.offers[0]?.headers['x-openai-agents-sdk']);
});

test('the example with plain fetch connects', async () => {
  const page = await stage.page();
  const state = await page.evaluate(async (url) => {
    const peer = await window.lab.call(window.tokens, url);
    for (let n = 0; n < 100 && peer.connectionState !== 'connected'; n++) await new Promise((resolve) => setTimeout(resolve, 50));
    return peer.connectionState;
  }, stage.callsUrl);
  assert.equal(state, 'connected');
});

test('the example with the openai package opens its socket with a key of the real broker', async () => {
  const page = await stage.page();
  let url = '';
  await page.routeWebSocket(/api\.openai\.com/, (socket) => {
    url = socket.url();
    socket.send(JSON.stringify({ type: 'session.created', session: {} }));
  });
  const [event, key] = await page.evaluate(async () => {
    const offered: string[] = [];
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
      constructor(url: string | URL, protocols: string | string[] = []) {
        super(url, protocols);
        offered.push(...[protocols].flat());
      }
    };
    const socket = await window.lab.openSocket(window.tokens);
    const created = await new Promise<string>((resolve) => socket.on('session.created', ({ type }) => resolve(type)));
    return [created, offered.find((name) => name.startsWith('openai-insecure-api-key.')) ?? ''];
  });
  assert.equal(event, 'session.created');
  assert.match(url, /^wss:\/\/api\.openai\.com\/v1\/realtime\?model=gpt-realtime/);
  assert.match(key ?? '', /^openai-insecure-api-key\.ek_sim_/);
});
