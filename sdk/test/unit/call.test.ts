// Tests a followed call without a browser: its countdown, what it tells, how it survives its broker, how it is hung up.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type CallEvents, type FollowedCall, followCall } from '@realtime-token-broker/client/call';
import { createFakeClock, type FakeClock } from '@realtime-token-broker/client/testing';
import { CALL, CallBroker, turns } from '../calls.js';
import { HOUR, SECOND } from '../setup.js';

interface Bench {
  broker: CallBroker;
  clock: FakeClock;
  call: FollowedCall;
  told: (keyof CallEvents | [keyof CallEvents, unknown])[];
  /** Lets time pass, and streams be read. */
  pass: (ms: number) => Promise<void>;
}

/** Follows a call and notes what it tells, without the countdown. `prepare` may return what undoes it. */
async function bench(t: TestContext, prepare: (broker: CallBroker) => unknown = () => {}): Promise<Bench> {
  const [broker, clock] = [new CallBroker(), createFakeClock()];
  const undo = prepare(broker);
  const call = followCall({ url: CALL, ticket: 'ek_ticket', clock, fetch: broker.fetch });
  if (typeof undo === 'function') undo();
  const told: Bench['told'] = [];
  for (const type of ['cost', 'estimatedCost', 'warning', 'ended'] as const) call.on(type, (event) => told.push([type, event]));
  t.after(() => broker.change({ state: 'ended' }));
  await turns();
  const pass = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    await turns();
  };
  return { broker, clock, call, told, pass };
}

test('the countdown is the broker\'s, whatever the clock of the page says', async (t) => {
  for (const skew of [0, -HOUR, HOUR, 25 * HOUR]) {
    const { broker, call, clock, pass } = await bench(t);
    clock.setWall(skew);
    await pass(SECOND);
    const counted: number[] = [];
    call.on('secondsLeft', (seconds) => counted.push(seconds));
    await pass(3 * SECOND);
    assert.deepEqual(counted, [598, 597, 596].map((seconds) => seconds + (skew ? 1 : 0)));
    broker.change({ seconds_left: 30 });
    await pass(2 * SECOND);
    assert.deepEqual(counted.slice(3), [30, 29, 28]);
    assert.equal(call.getSnapshot().secondsLeft, 28);
  }
});

test('a snapshot that agrees with the countdown does not make it stutter', async (t) => {
  const { broker, call, pass } = await bench(t);
  const counted: number[] = [];
  call.on('secondsLeft', (seconds) => counted.push(seconds));
  for (let n = 0; n < 10; n++) {
    await pass(400);
    // As the broker does: rounded up.
    broker.change({ seconds_left: Math.ceil(600 - (n + 1) * 0.4), turns: n });
    await turns();
  }
  assert.deepEqual(counted, [599, 598, 597, 596]);
});

test('cost, warning and the end are told once each, and the snapshot holds them', async (t) => {
  const { broker, call, told, pass } = await bench(t);
  const before = call.getSnapshot();
  assert.equal(call.id, 'rtc_1');
  assert.deepEqual(before, { state: 'open', secondsLeft: 600, warning: false, turns: 0, tokens: 0, cost: 0, estimatedCost: 0, endedReason: null });
  broker.change({ turns: 1, tokens: 512, cost: '0.010296', seconds_left: 600 });
  broker.change({ warning: true, seconds_left: 30 }, 'warning');
  broker.change({ seconds_left: 29 });
  await turns();
  assert.notEqual(call.getSnapshot(), before);
  broker.change({ state: 'ending', reason: 'time_limit', seconds_left: 0 });
  broker.change({ state: 'ended', cost: '0.02', estimated_cost: '0.005' }, 'ended');
  await turns();
  assert.deepEqual(told, [
    ['cost', 0.010296],
    ['warning', { secondsLeft: 30 }],
    ['ended', { reason: 'time_limit', cost: 0.010296 }],
    ['cost', 0.02],
    ['estimatedCost', 0.005],
  ]);
  assert.deepEqual(call.getSnapshot(), { state: 'ended', secondsLeft: null, warning: true, turns: 1, tokens: 512, cost: 0.02, estimatedCost: 0.005, endedReason: 'time_limit' });
  await pass(HOUR);
  assert.deepEqual(broker.paths, ['GET /events'], 'nothing is asked after the end');
});

test('a call whose end nobody confirms is followed for 30 s more', async (t) => {
  const { broker, clock, call, pass } = await bench(t);
  broker.change({ state: 'ending', reason: 'operator' });
  await pass(29 * SECOND);
  assert.equal(broker.streams[0]?.cancelled, false);
  await pass(2 * SECOND);
  assert.equal(broker.streams[0]?.cancelled, true);
  assert.deepEqual([call.getSnapshot().endedReason, clock.timers], ['operator', 0]);
});

test('a stream that ends or breaks is opened again, names the last event, and hears at once where the call stands', async (t) => {
  for (const end of ['end', 'break'] as const) {
    const { broker, call, told, pass } = await bench(t);
    broker.change({ turns: 1 });
    await turns();
    broker.streams[0]?.[end]();
    broker.view = { ...broker.view, revision: 3, turns: 2, cost: '0.5' };
    await pass(2 * SECOND);
    assert.deepEqual(broker.asked.map(({ lastEventId }) => lastEventId), [null, '2']);
    assert.deepEqual([call.getSnapshot().turns, told], [2, [['cost', 0.5]]]);
    broker.streams[1]?.[end]();
    broker.view = { ...broker.view, revision: 4, state: 'ended', reason: 'operator' };
    await pass(2 * SECOND);
    assert.deepEqual(told.at(-1), ['ended', { reason: 'operator', cost: 0.5 }]);
  }
});

test('the broker says how long to wait before the stream is opened again', async (t) => {
  const { broker, pass } = await bench(t);
  broker.streams[0]?.write('retry: 7000\n: this replica stops\n\n');
  broker.streams[0]?.end();
  await pass(6999);
  assert.equal(broker.asked.length, 1);
  await pass(7001);
  assert.equal(broker.asked.length, 2);
});

test('a broker that is down is asked less and less often, at least every half minute, and the countdown goes on', async (t) => {
  const { broker, call, pass } = await bench(t);
  const html = (): Response => new Response('<html>', { headers: { 'content-type': 'text/html' } });
  broker.faults['/events'] = [new TypeError('Failed to fetch'), new Response(null, { status: 503 }), html(), new Response('{}', { status: 429 }), html()];
  broker.streams[0]?.break();
  for (const most of [2, 4, 8, 16]) await pass(most * SECOND);
  assert.equal(call.getSnapshot().secondsLeft, 570);
  for (const most of [30, 30]) await pass(most * SECOND);
  assert.equal(broker.streams.length, 2);
  assert.equal(broker.asked.length, 7);
});

test('a stream that is silent for 45 s is given up, and comments keep it', async (t) => {
  const { broker, pass } = await bench(t);
  for (let n = 0; n < 4; n++) {
    await pass(40 * SECOND);
    broker.streams[0]?.write(': keep-alive\n\n');
    await turns();
  }
  assert.equal(broker.streams.length, 1);
  await pass(48 * SECOND);
  assert.deepEqual([broker.streams[0]?.cancelled, broker.streams.length], [true, 2]);
});

test('an answer that a newer one has overtaken changes nothing', async (t) => {
  const { broker, call } = await bench(t);
  broker.change({ turns: 5 });
  broker.streams[0]?.tell('state', { turns: 4, revision: 1 });
  broker.streams[0]?.tell('state', { turns: 9, revision: undefined as unknown as number });
  await turns();
  assert.equal(call.getSnapshot().turns, 5);
});

test('events are read however they are cut, and a stream that holds nonsense is opened again', async (t) => {
  const { broker, call, pass } = await bench(t);
  const view = JSON.stringify({ ...broker.view, revision: 2, turns: 3 });
  const event = `: hello\r\n\r\nevent: state\r\nid: 2\r\ndata: ${view.slice(0, 1)}\r\ndata:${view.slice(1)}\r\n\r\n`;
  for (const letter of event) broker.streams[0]?.write(letter);
  await turns();
  assert.equal(call.getSnapshot().turns, 3);
  broker.streams[0]?.write('data: nonsense\n\n');
  await pass(4 * SECOND);
  assert.equal(broker.streams.length, 2);
});

test('a clock that jumps, or a device that slept, makes the broker be asked', async (t) => {
  for (const jump of [HOUR, -HOUR]) {
    const { broker, clock, call, pass } = await bench(t);
    await pass(10 * SECOND);
    assert.deepEqual(broker.paths, ['GET /events']);
    clock.sleep(jump);
    broker.view = { ...broker.view, seconds_left: 42 };
    await pass(SECOND);
    assert.deepEqual(broker.paths, ['GET /events', 'GET ']);
    assert.equal(call.getSnapshot().secondsLeft, 42);
    await pass(5 * SECOND);
    assert.equal(broker.asked.length, 2);
  }
});

test('a hang-up shows the ticket, outlives the page, and happens once', async (t) => {
  const { broker, call, told } = await bench(t);
  await Promise.all([call.hangUp(), call.hangUp()]);
  await call.hangUp();
  assert.deepEqual(broker.asked.slice(1), [{ path: '/hangup', method: 'POST', bearer: 'Bearer ek_ticket', lastEventId: null, keepalive: true }]);
  assert.deepEqual(told, [['ended', { reason: 'hung_up', cost: 0 }]]);
});

test('a hang-up that reaches nobody is tried three times, and may be asked for again', async (t) => {
  const { broker, call, pass } = await bench(t);
  broker.faults['/hangup'] = [new TypeError('Failed to fetch'), new Response(null, { status: 503 }), new Promise(() => {})];
  const hung = call.hangUp();
  await pass(SECOND);
  await pass(2 * SECOND);
  // The third one is never answered.
  await pass(10 * SECOND);
  await hung;
  assert.equal(broker.paths.filter((path) => path === 'POST /hangup').length, 3);
  assert.equal(call.getSnapshot().endedReason, null);
  await call.hangUp();
  assert.equal(call.getSnapshot().endedReason, 'hung_up');
});

test('a call that the broker no longer knows is over, and nobody says why', async (t) => {
  for (const status of [401, 404, 410]) {
    const { broker, clock, call, told, pass } = await bench(t, ({ faults }) => (faults['/events'] = [new Response('{}', { status })]));
    assert.deepEqual(told, [['ended', { reason: null, cost: 0 }]]);
    assert.equal(call.getSnapshot().state, 'ended');
    await pass(HOUR);
    assert.deepEqual([broker.asked.length, clock.timers], [1, 0]);
  }
});

test('where answers cannot be read as streams, the call is looked at every two seconds', async (t) => {
  const { ReadableStream } = globalThis;
  const hide = (): (() => void) => {
    Reflect.deleteProperty(globalThis, 'ReadableStream');
    return () => void Object.assign(globalThis, { ReadableStream });
  };
  const { broker, call, told, pass } = await bench(t, hide);
  assert.equal(call.getSnapshot().secondsLeft, 600);
  for (let n = 0; n < 3; n++) await pass(2 * SECOND);
  assert.deepEqual(broker.paths, Array<string>(4).fill('GET '));
  broker.change({ state: 'ended', reason: 'idle' });
  await pass(2 * SECOND);
  assert.deepEqual(told, [['ended', { reason: 'idle', cost: 0 }]]);
  await pass(HOUR);
  assert.equal(broker.asked.length, 5);
});

test('a page that is left hangs up', async (t) => {
  const page = new EventTarget();
  const { addEventListener, removeEventListener } = globalThis;
  t.after(() => Object.assign(globalThis, { addEventListener, removeEventListener }));
  Object.assign(globalThis, { addEventListener: page.addEventListener.bind(page), removeEventListener: page.removeEventListener.bind(page) });
  const { broker, told } = await bench(t);
  page.dispatchEvent(new Event('pagehide'));
  await turns();
  assert.deepEqual(told, [['ended', { reason: 'hung_up', cost: 0 }]]);
  page.dispatchEvent(new Event('pagehide'));
  await turns();
  assert.deepEqual(broker.paths, ['GET /events', 'POST /hangup']);
});
