// Tests a connection in call mode without a browser: which way it takes, how it ends, and when it is made again.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createTokenManager } from '@realtime-token-broker/client';
import { createFakeClock, createFakePage, settle } from '@realtime-token-broker/client/testing';
import type { EndReason } from '@realtime-token-broker/client/call';
import { type ConnectionError, createRealtimeConnection, type RealtimeConnection, type RealtimeConnectionOptions } from '@realtime-token-broker/client/webrtc';
import { CallBroker, CALLS, turns } from '../calls.js';
import { pretendPeers, type PretendedPeer } from '../peers.js';
import { SECOND } from '../setup.js';

interface Stage {
  broker: CallBroker;
  connection: RealtimeConnection;
  peers: PretendedPeer[];
  /** What the connection told, without the countdown. */
  told: unknown[];
  reasons: unknown[];
  pass: (ms: number) => Promise<void>;
}

/** A connection whose keys are tickets for `mode`. */
function stage(t: TestContext, mode = 'call', options: Partial<RealtimeConnectionOptions> = {}): Stage {
  const [broker, clock] = [new CallBroker(), createFakeClock()];
  const peers = pretendPeers(t);
  const reasons: unknown[] = [];
  const tokens = createTokenManager({
    source: async ({ reason }) => ({ value: `ek_${reasons.push(reason)}`, expires_in: 60, connect: { mode, calls: CALLS } }),
    clock,
    eventTarget: createFakePage(),
  });
  const connection = createRealtimeConnection({ tokens, microphone: false, audio: null, fetch: broker.fetch, ...options });
  const told: unknown[] = [];
  connection.on('cost', (cost) => told.push(cost));
  connection.on('warning', ({ secondsLeft }) => told.push(['warning', secondsLeft]));
  connection.on('ended', ({ reason }) => told.push(['ended', reason]));
  connection.on('contextLost', () => told.push('contextLost'));
  t.after(() => {
    connection.disconnect();
    tokens.destroy();
  });
  const pass = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    await turns();
  };
  return { broker, connection, peers, told, reasons, pass };
}

const error = ({ getSnapshot }: RealtimeConnection): (string | null | undefined)[] => {
  const { code, reason } = Object(getSnapshot().error) as Partial<ConnectionError>;
  return [getSnapshot().status, code, reason];
};

test('the offer goes to the broker with the ticket, and the connection tells what the broker tells', async (t) => {
  const { broker, connection, told, pass } = stage(t);
  const counted: number[] = [];
  connection.on('secondsLeft', (seconds) => counted.push(seconds));
  await connection.connect();
  assert.deepEqual(error(connection), ['connected', undefined, undefined]);
  const { call, session } = connection.getSnapshot();
  assert.equal(call, session?.call);
  assert.deepEqual([session?.callId, call?.id], ['rtc_1', 'rtc_1']);
  assert.equal(call?.getSnapshot().secondsLeft, 600, 'by X-Call-Ends-At and Date, before the first event');
  await pass(2 * SECOND);
  broker.change({ cost: '0.01', seconds_left: 598 });
  broker.change({ warning: true, seconds_left: 30 }, 'warning');
  await pass(SECOND);
  assert.deepEqual([counted, told], [[599, 598, 30, 29], [0.01, ['warning', 30]]]);
  assert.deepEqual(broker.paths, ['POST offer', 'GET /events']);
  assert.deepEqual(new Set(broker.asked.map(({ bearer }) => bearer)), new Set(['Bearer ek_1']));
});

test('a refusal by the broker has its code, its limit and its wait, and is not tried again', async (t) => {
  const { broker, connection } = stage(t);
  const error = { code: 'money_exhausted', message: 'The money is used up.', limit: 'quota.student.money_per_month' };
  broker.faults['offer'] = [Response.json({ error }, { status: 402, headers: { 'retry-after': '90' } })];
  await connection.connect();
  const { code, status, brokerCode, limit, retryAfterMs, message } = connection.getSnapshot().error as ConnectionError;
  assert.deepEqual([code, status, brokerCode, limit, retryAfterMs], ['refused', 402, 'money_exhausted', error.limit, 90_000]);
  assert.match(message, /402: The money is used up\./);
  assert.deepEqual(broker.paths, ['POST offer']);
});

test('a broker that hands over a token for the call is shown that one from then on', async (t) => {
  const { broker, connection } = stage(t);
  broker.headers = { 'x-call-token': 'ek_of_the_call' };
  await connection.connect();
  await turns();
  assert.deepEqual(broker.asked.map(({ bearer }) => bearer), ['Bearer ek_1', 'Bearer ek_of_the_call']);
});

test('disconnect() hangs up, and the last figures still arrive', async (t) => {
  const { broker, connection, peers, told } = stage(t);
  await connection.connect();
  broker.hungUp = { state: 'ended', reason: 'hung_up', cost: '0.03' };
  connection.disconnect();
  assert.deepEqual(error(connection), ['disconnected', undefined, undefined]);
  assert.equal(peers[0]?.closed, false, 'the broker is told first');
  await turns();
  assert.equal(peers[0]?.closed, true);
  assert.deepEqual(broker.paths, ['POST offer', 'GET /events', 'POST /hangup']);
  assert.deepEqual(told, [0.03, ['ended', 'hung_up']]);
  assert.equal(connection.getSnapshot().call?.getSnapshot().endedReason, 'hung_up');
});

test('hangUp() of the call ends the connection without an error', async (t) => {
  const { connection, peers, told } = stage(t);
  await connection.connect();
  await connection.getSnapshot().call?.hangUp();
  assert.deepEqual(error(connection), ['disconnected', undefined, undefined]);
  assert.deepEqual([peers.length, peers[0]?.closed, told], [1, true, [['ended', 'hung_up']]]);
});

test('a call that the broker ends is not made again, whether the stream or the peer tells first', async (t) => {
  const reasons: EndReason[] = ['time_limit', 'money_limit', 'turn_limit', 'idle', 'not_joined', 'logged_out', 'operator', 'persona_violation'];
  for (const [nth, reason] of reasons.entries()) {
    const { broker, connection, peers, told, pass } = stage(t);
    await connection.connect();
    await turns();
    if (nth % 2) broker.change({ state: 'ending', reason });
    else {
      broker.view = { ...broker.view, revision: 2, state: 'ending', reason };
      peers[0]?.channel.onclose?.();
    }
    await turns();
    assert.deepEqual(error(connection), ['disconnected', 'ended', reason]);
    assert.match(`${connection.getSnapshot().error?.message}`, new RegExp(reason));
    await pass(60 * SECOND);
    assert.deepEqual([peers.length, told], [1, [['ended', reason]]]);
    assert.ok(!broker.paths.includes('POST /hangup'), 'it is hung up already');
  }
});

test('a call that breaks is hung up and made again with another ticket, at most as often as reconnect allows', async (t) => {
  const { broker, connection, peers, told, reasons, pass } = stage(t, 'call', { reconnect: 1 });
  await connection.connect();
  await turns();
  peers[0]?.channel.onclose?.();
  await pass(SECOND);
  assert.deepEqual(error(connection), ['connected', undefined, undefined]);
  assert.deepEqual(broker.paths.slice(2), ['GET ', 'POST /hangup', 'POST offer', 'GET /events']);
  assert.equal(broker.asked[4]?.bearer, 'Bearer ek_2');
  assert.deepEqual(reasons, ['initial', 'invalidated']);
  assert.deepEqual(told, ['contextLost'], 'the hang-up of the broken call is no news');
  broker.faults[''] = [new TypeError('Failed to fetch')];
  peers[1]?.channel.onclose?.();
  await turns();
  assert.deepEqual(error(connection), ['disconnected', 'lost', undefined]);
});

test('a call that the provider or a broken broker ended is made again', async (t) => {
  for (const reason of ['provider', 'blind', 'shutdown'] as const) {
    const { broker, connection, peers, told, pass } = stage(t);
    await connection.connect();
    await turns();
    broker.change({ state: 'ended', reason });
    await turns();
    await pass(SECOND);
    assert.deepEqual([error(connection)[0], peers.length, told], ['connected', 2, [['ended', reason], 'contextLost']]);
  }
});

test('a call that ends before it is open fails with the reason', async (t) => {
  const { broker, connection, peers } = stage(t);
  broker.answer = 'v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  const connecting = connection.connect();
  await settle();
  (peers[0] as PretendedPeer).connectionState = 'connecting';
  await turns();
  broker.change({ state: 'ended', reason: 'not_joined' });
  await connecting;
  assert.deepEqual(error(connection), ['disconnected', 'ended', 'not_joined']);
});

test('a call whose channel the broker took out connects with audio only', async (t) => {
  const { broker, connection } = stage(t);
  broker.answer = 'v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  await connection.connect();
  assert.deepEqual(error(connection), ['connected', undefined, undefined]);
  assert.equal(connection.send({ type: 'response.create' }), false);
});

test('disconnect() while the call opens hangs up', async (t) => {
  const { broker, connection, peers } = stage(t);
  broker.answer = 'v=0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  const connecting = connection.connect();
  await settle();
  (peers[0] as PretendedPeer).connectionState = 'connecting';
  await turns();
  connection.disconnect();
  await connecting;
  await turns();
  assert.deepEqual([broker.paths.at(-1), peers[0]?.closed], ['POST /hangup', true]);
});

test('a call that was ended while it was dialled is not dialled again', async (t) => {
  const { broker, connection } = stage(t);
  broker.faults['offer'] = [Response.json({ error: { code: 'call_ended', message: 'ended' } }, { status: 409 })];
  await connection.connect();
  const { code, brokerCode } = connection.getSnapshot().error as ConnectionError;
  assert.deepEqual([code, brokerCode, broker.paths], ['refused', 'call_ended', ['POST offer']]);
});

test('a ticket that was used before is replaced once', async (t) => {
  const { broker, connection, reasons } = stage(t);
  broker.faults['offer'] = [Response.json({ error: { code: 'ticket_used', message: 'used' } }, { status: 409 })];
  await connection.connect();
  assert.equal(connection.getSnapshot().status, 'connected');
  assert.deepEqual([broker.asked[1]?.bearer, reasons], ['Bearer ek_2', ['initial', 'invalidated']]);
});

test('no ticket is fetched during a call, and each is handed out once', async (t) => {
  const { connection, reasons, pass } = stage(t);
  await connection.connect();
  for (let n = 0; n < 10; n++) await pass(60 * SECOND);
  assert.equal(reasons.length, 1);
  connection.disconnect();
  await connection.connect();
  assert.equal(connection.getSnapshot().session?.callId, 'rtc_1');
  assert.equal(reasons.length, 2);
});

test('a mode that the client does not know is an error with a code of its own, and nothing is sent', async (t) => {
  const { broker, connection, peers } = stage(t, 'phone');
  await connection.connect();
  assert.deepEqual(error(connection), ['disconnected', 'unsupported_mode', undefined]);
  assert.match(`${connection.getSnapshot().error?.message}`, /phone/);
  assert.deepEqual([broker.asked, peers], [[], []]);
});

test('in direct mode the broker is asked nothing of the call', async (t) => {
  const { broker, connection } = stage(t, 'direct');
  await connection.connect();
  await turns();
  assert.deepEqual([connection.getSnapshot().call, connection.getSnapshot().session?.call], [null, null]);
  connection.disconnect();
  await turns();
  assert.deepEqual(broker.paths, ['POST offer']);
});
