// Tests the hooks: E55 to E59, E62 and E63.
import { complaints, container } from './dom.js';
import assert from 'node:assert/strict';
import { afterEach, test, type TestContext } from 'node:test';
import { settle } from '@realtime-token-broker/client/testing';
import { type FollowedCall, followCall } from '@realtime-token-broker/client/call';
import { RealtimeTokenProvider, useRealtimeCall, useRealtimeConnection, useRealtimeToken, useTokenCountdown } from '@realtime-token-broker/client/react';
import { act, type ReactNode, StrictMode, useState } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { VoiceAgent } from '../../examples/react.js';
import { CALL, CallBroker, turns } from '../calls.js';
import { bench as unwrapped, type Bench, SECOND } from '../setup.js';

const bench = (t: TestContext, lifetime = 600): Bench => unwrapped(t, lifetime, {}, (destroy) => act(async () => destroy()));

async function render(t: TestContext, tree: ReactNode): Promise<{ root: Root; element: Element; text: () => string }> {
  const element = container();
  const root = createRoot(element);
  await act(async () => {
    root.render(tree);
    await settle();
  });
  t.after(() => act(async () => root.unmount()));
  return { root, element, text: () => element.textContent ?? '' };
}

const click = (element: Element, label: string): Promise<void> =>
  act(async () => {
    const button = [...element.querySelectorAll('button')].find((each) => each.textContent?.includes(label));
    assert.ok(button, `no button ${label} in ${element.textContent}`);
    button.click();
    await settle();
  });

afterEach(() => assert.deepEqual(complaints.splice(0), []));

test('E55 the server renders the constant picture, and hydration does not complain', async (t) => {
  const { tokens, broker } = bench(t);
  function Key(): ReactNode {
    const { status, token } = useRealtimeToken(tokens);
    const { secondsLeft } = useTokenCountdown(tokens);
    return <p>{`${status} ${token?.masked ?? '–'} ${secondsLeft ?? '–'}`}</p>;
  }
  const html = renderToString(<Key />);
  assert.match(html, /idle – –/);
  assert.equal(broker.requests.length, 0);
  await tokens.requestToken();
  assert.match(renderToString(<Key />), /idle – –/);
  const element = container();
  element.innerHTML = html;
  let root: Root | undefined;
  await act(async () => {
    root = hydrateRoot(element, <Key />);
    await settle();
  });
  assert.match(element.textContent ?? '', /ready ek_…\w+ 600/);
  await act(async () => root?.unmount());
});

test('E56 under StrictMode a component makes one request and stays subscribed', async (t) => {
  const { tokens, clock, broker } = bench(t);
  function Key(): ReactNode {
    const state = useRealtimeToken(tokens);
    return <p>{`${state.status} ${state.token?.value}`}</p>;
  }
  const { text } = await render(t, <StrictMode><Key /></StrictMode>);
  assert.equal(text(), 'ready ek_fake_secret_1');
  assert.equal(broker.requests.length, 1);
  await act(() => clock.advance(575 * SECOND));
  assert.equal(text(), 'ready ek_fake_secret_2');
});

test('E57 twenty components share one manager and one request', async (t) => {
  const { tokens, broker } = bench(t);
  function Key(): ReactNode {
    return <i>{useRealtimeToken().status}</i>;
  }
  const { text } = await render(
    t,
    <StrictMode>
      <RealtimeTokenProvider manager={tokens}>{Array.from({ length: 20 }, (_, n) => <Key key={n} />)}</RealtimeTokenProvider>
    </StrictMode>,
  );
  assert.equal(text(), 'ready'.repeat(20));
  assert.equal(broker.requests.length, 1);
});

test('E58 without observers the refresh pauses after a moment, and returns with the next one', async (t) => {
  const { tokens, clock, broker } = bench(t);
  function Key(): ReactNode {
    return <p>{useRealtimeToken(tokens).status}</p>;
  }
  function Page(): ReactNode {
    const [shown, show] = useState(true);
    return <><button onClick={() => show(!shown)}>toggle</button>{shown && <Key />}</>;
  }
  const { element } = await render(t, <Page />);
  await click(element, 'toggle');
  await act(() => clock.advance(1));
  assert.equal(tokens.getSnapshot().phase, 'paused');
  await act(() => clock.advance(590 * SECOND));
  assert.equal(broker.requests.length, 1);
  await click(element, 'toggle');
  await act(() => clock.advance(SECOND));
  assert.equal(broker.requests.length, 2);
  assert.equal(tokens.getSnapshot().phase, 'ready');
});

test('E58 a component that is replaced by another in one task pauses nothing', async (t) => {
  const { tokens, clock } = bench(t);
  function Key(): ReactNode {
    return <p>{useRealtimeToken(tokens).status}</p>;
  }
  function Page(): ReactNode {
    const [nth, next] = useState(0);
    return <><button onClick={() => next(nth + 1)}>replace</button><Key key={nth} /></>;
  }
  const { element } = await render(t, <Page />);
  const phases: string[] = [];
  tokens.on('stateChange', ({ phase }) => phases.push(phase));
  await click(element, 'replace');
  await act(() => clock.advance(SECOND));
  assert.deepEqual(phases.filter((phase) => phase === 'paused'), []);
  assert.equal(tokens.getSnapshot().phase, 'ready');
});

test('an error is returned with a hint, and the actions are stable', async (t) => {
  const { tokens, broker, clock } = bench(t);
  broker.next(broker.refuse(403, 'origin_not_allowed'));
  const seen = new Set<unknown>();
  function Key(): ReactNode {
    const { status, error, request } = useRealtimeToken(tokens);
    seen.add(request);
    return <><p>{`${status} ${error?.hint ?? ''}`}</p><button onClick={request}>again</button></>;
  }
  const { element, text } = await render(t, <Key />);
  assert.match(text(), /^error This origin/);
  await act(() => clock.advance(5 * SECOND));
  await click(element, 'again');
  assert.match(text(), /^ready/);
  assert.equal(seen.size, 1);
});

test('a hook without a manager says what to do', async () => {
  function Key(): ReactNode {
    return <p>{useRealtimeToken().status}</p>;
  }
  assert.throws(() => renderToString(<Key />), /RealtimeTokenProvider/);
});

test('E59 the example stays connected when its key expires during the call', async (t) => {
  const { tokens, clock, broker } = bench(t, 60);
  let closed = 0;
  const start = async (): Promise<{ close(): void }> => ({ close: () => void closed++ });
  const { element, text } = await render(t, <StrictMode><VoiceAgent tokens={tokens} microphone={false} start={start} /></StrictMode>);
  assert.match(text(), /Status: disconnected/);
  await click(element, 'Connect');
  assert.match(text(), /Status: connected/);
  broker.next(...Array.from({ length: 60 }, () => () => broker.refuse(403, 'forbidden')));
  await act(() => clock.advance(120 * SECOND));
  assert.equal(tokens.getCurrentToken(), null);
  assert.match(text(), /Status: connected/);
  await click(element, 'Disconnect');
  assert.match(text(), /Status: disconnected/);
  assert.equal(closed, 1);
});

test('E12 a connection keeps its key fresh on a hidden page, and lets go when it ends', async (t) => {
  const { tokens, clock, page, broker } = bench(t);
  const { element } = await render(t, <VoiceAgent tokens={tokens} microphone={false} start={async () => ({})} />);
  await click(element, 'Connect');
  await act(async () => page.show(false));
  await act(() => clock.advance(575 * SECOND));
  assert.equal(broker.requests.length, 2);
  await click(element, 'Disconnect');
  await act(() => clock.advance(900 * SECOND));
  assert.equal(broker.requests.length, 2);
});

test('E59 a token that arrives connects nothing', async (t) => {
  const { tokens } = bench(t);
  const { text } = await render(t, <VoiceAgent tokens={tokens} microphone={false} start={async () => ({})} />);
  await act(async () => void (await tokens.requestToken()));
  assert.match(text(), /Status: disconnected/);
});

test('E62 disconnecting while connecting aborts, and the next connect works', async (t) => {
  const { tokens } = bench(t);
  const starts: AbortSignal[] = [];
  let closed = 0;
  let go = (): void => {};
  function Page(): ReactNode {
    const { status, connect, disconnect } = useRealtimeConnection({
      tokens,
      microphone: false,
      connect: async ({ signal }) => {
        starts.push(signal);
        await new Promise<void>((resolve) => (go = resolve));
        return { close: () => void closed++ };
      },
    });
    return <><p>{status}</p><button onClick={connect}>up</button><button onClick={disconnect}>down</button></>;
  }
  const { element, text } = await render(t, <StrictMode><Page /></StrictMode>);
  await click(element, 'up');
  await click(element, 'up');
  assert.match(text(), /^connecting/);
  assert.equal(starts.length, 1);
  await click(element, 'down');
  assert.match(text(), /^disconnected/);
  assert.equal(starts[0]?.aborted, true);
  await act(async () => (go(), settle()));
  assert.equal(closed, 1);
  await click(element, 'up');
  await act(async () => (go(), settle()));
  assert.match(text(), /^connected/);
  assert.equal(closed, 1);
});

test('E63 a connect that failed can be tried again without a remount', async (t) => {
  const { tokens } = bench(t);
  let fails = true;
  function Page(): ReactNode {
    const { status, error, connect } = useRealtimeConnection({
      tokens,
      microphone: false,
      connect: async () => {
        if (fails) throw new Error('denied');
        return {};
      },
    });
    return <><p>{`${status} ${error?.message ?? ''}`}</p><button onClick={connect}>up</button></>;
  }
  const { element, text } = await render(t, <Page />);
  await click(element, 'up');
  assert.match(text(), /^disconnected denied/);
  fails = false;
  await click(element, 'up');
  assert.match(text(), /^connected /);
});

test('a component shows the countdown, the price and the end of its call, and hangs up', async (t) => {
  const { tokens, clock } = bench(t);
  const broker = new CallBroker();
  let renders = 0;
  function Call({ call }: { call: FollowedCall | null }): ReactNode {
    const { state, secondsLeft, cost, estimatedCost, warning, endedReason, hangUp } = useRealtimeCall(call);
    return <><i>{`${state} ${secondsLeft} ${cost} ${estimatedCost} ${warning} ${endedReason}`}</i><button onClick={hangUp}>hang up</button></>;
  }
  function Page(): ReactNode {
    renders++;
    const { status, error, call, connect } = useRealtimeConnection({
      tokens,
      microphone: false,
      connect: async ({ apiKey }) => ({ call: followCall({ url: CALL, ticket: apiKey, clock, fetch: broker.fetch }) }),
    });
    return <><p>{`${status} ${error?.message ?? '–'}`}</p><button onClick={connect}>start</button><Call call={call} /></>;
  }
  const { element, text } = await render(t, <StrictMode><Page /></StrictMode>);
  const shown = (): string => text().replace('start', ' | ').replace('hang up', '');
  assert.equal(shown(), 'disconnected – | null null 0 0 false null');
  await click(element, 'start');
  await act(turns);
  assert.equal(shown(), 'connected – | open 600 0 0 false null');
  const before = renders;
  await act(() => clock.advance(2 * SECOND));
  broker.change({ cost: '0.25', estimated_cost: '0.05', warning: true, seconds_left: 30 });
  await act(turns);
  assert.equal(shown(), 'connected – | open 30 0.25 0.05 true null');
  assert.equal(renders, before, 'the page itself does not render each second');
  await click(element, 'hang up');
  await act(turns);
  assert.equal(shown(), 'disconnected – | ended null 0.25 0.05 true hung_up');
  broker.view = { ...broker.fresh };
  await click(element, 'start');
  await act(turns);
  broker.change({ state: 'ended', reason: 'time_limit' });
  await act(turns);
  assert.equal(shown(), 'disconnected The call has ended: time_limit. | ended null 0 0 false time_limit');
});

test('a component that goes away ends its connection', async (t) => {
  const { tokens } = bench(t);
  let closed = 0;
  const { root, element } = await render(
    t,
    <StrictMode><VoiceAgent tokens={tokens} microphone={false} start={async () => ({ close: () => void closed++ })} /></StrictMode>,
  );
  await click(element, 'Connect');
  await act(async () => root.unmount());
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(closed, 1);
});
