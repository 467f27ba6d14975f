// Tests call mode against the real broker over HTTP: tickets, the countdown, the warning, the end, the hang-up.
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { createTokenManager, type RealtimeToken, type TokenManager, withFreshKey } from '@realtime-token-broker/client';
import { type CallEvents, type FollowedCall, followCall } from '@realtime-token-broker/client/call';
import { type RealBroker, startBroker } from '../broker.js';

let broker: RealBroker;
before(async () => {
  broker = await startBroker('connect.mode=call', 'call.max_duration=15s', 'call.warn_before=10s', 'call.farewell=none', 'limits.token=1000/60s', 'call.max_live_network=100');
});
after(() => broker.stop());

const FINGERPRINT = Array(32).fill('CA').join(':');
const TRANSPORT = `a=ice-ufrag:test\r\na=ice-pwd:aPasswordOfIceThatIsLongEnough\r\na=fingerprint:sha-256 ${FINGERPRINT}\r\na=setup:actpass\r\n`;
const OFFER = `v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n${TRANSPORT}a=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n${TRANSPORT}a=mid:1\r\na=sctp-port:5000\r\n`;

function manager(t: TestContext): { tokens: TokenManager; asked: string[] } {
  const asked: string[] = [];
  const counted: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    asked.push(`${new URL(`${input}`).pathname} ${answer.status}`);
    return answer;
  };
  const tokens = createTokenManager({ baseUrl: broker.url, fetch: counted });
  t.after(() => tokens.destroy());
  return { tokens, asked };
}

/** Opens a call as a page does, and follows it. */
async function dial({ value, connect }: RealtimeToken): Promise<FollowedCall> {
  const headers = { authorization: `Bearer ${value}`, 'content-type': 'application/sdp' };
  const answer = await fetch(`${connect?.calls}`, { method: 'POST', headers, body: OFFER });
  if (!answer.ok) throw Object.assign(new Error(await answer.text()), { status: answer.status });
  const id = answer.headers.get('location')?.split('/').pop();
  return followCall({ url: `${connect?.calls}/${id}`, ticket: value });
}

const heard = <K extends keyof CallEvents>(call: FollowedCall, type: K): Promise<CallEvents[K]> =>
  new Promise((resolve) => call.on(type, resolve, { once: true }));

test('the broker says that calls go through it, counts the call down, warns and ends it', async (t) => {
  const { tokens } = manager(t);
  const token = await tokens.takeToken();
  assert.equal(token.connect?.mode, 'call');
  assert.equal(token.connect?.calls, `${broker.url}/calls`);
  const call = await dial(token);
  const counted: number[] = [];
  call.on('secondsLeft', (seconds) => counted.push(seconds));
  const ended = heard(call, 'ended');
  assert.ok(Number((await heard(call, 'warning')).secondsLeft) <= 10);
  assert.deepEqual(await ended, { reason: 'time_limit', cost: 0 });
  assert.deepEqual(counted, [...counted].sort((a, b) => b - a));
  assert.ok(counted.length >= 10, `${counted}`);
});

test('a page hangs up with its ticket, and calls again at once with another one', async (t) => {
  const { tokens, asked } = manager(t);
  const first = await tokens.takeToken();
  const call = await dial(first);
  const ended = heard(call, 'ended');
  await call.hangUp();
  assert.deepEqual(await ended, { reason: 'hung_up', cost: 0 });
  const again = await tokens.takeToken();
  assert.notEqual(again.value, first.value);
  await (await dial(again)).hangUp();
  assert.deepEqual(asked, ['/token 200', '/refresh-token 429', '/token 200']);
});

test('a ticket that was used opens no other call, and withFreshKey() replaces it', async (t) => {
  const { tokens } = manager(t);
  const used = await tokens.takeToken();
  await (await dial(used)).hangUp();
  await assert.rejects(dial(used), { status: 409 });
  const keys: string[] = [];
  const call = await withFreshKey(tokens, (key, token) => (keys.push(key), dial(keys.length === 1 ? used : token)));
  await call.hangUp();
  assert.equal(new Set(keys).size, 2);
});

test('a stranger cannot follow a call, and is told nothing', async (t) => {
  const { tokens } = manager(t);
  const call = await dial(await tokens.takeToken());
  const { connect, value } = await tokens.takeToken();
  const other = followCall({ url: `${connect?.calls}/${call.id}`, ticket: value });
  assert.deepEqual(await heard(other, 'ended'), { reason: null, cost: 0 });
  assert.equal((await call.look()).state, 'open');
  await call.hangUp();
});
