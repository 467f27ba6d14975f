// Follows a call at the broker: its countdown, its price, its end. Hangs it up. Needs no page.
import { type Clock, pause, systemClock } from '../clock.js';
import { createListeners, type ListenOptions } from '../events.js';
import { known } from '../sources.js';
import { type CallEvents, type CallSnapshot, type CallView, isOver, UNKNOWN } from './snapshot.js';
import { readEvents } from './stream.js';

/** The broker sends something at least every 15 s. A stream that is silent for longer is dead, in milliseconds. */
const SILENT_MS = 45_000;
/** The first wait before the stream is opened again, unless the broker names one, and the longest, in milliseconds. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15_000;
/** How often a call is looked at where answers cannot be read as streams, in milliseconds. */
const LOOK_MS = 2000;
/** Longest time for a question or a hang-up, in milliseconds. */
const ANSWER_MS = 5000;
/** How long the final price is waited for after the end, in milliseconds. */
const FINAL_MS = 30_000;
/** A difference between both clocks from which one was set, or has slept, in milliseconds. */
const JUMP_MS = 2000;
/** How often a hang-up is tried. */
const HANG_UPS = 3;

export interface FollowOptions {
  /** The URL of the call: `connect.calls` of the broker's answer, a slash, and the id from `Location`. */
  url: string;
  /** The ticket that opened the call, or the value of `X-Call-Token`. */
  ticket: string;
  /** Seconds until the end, as far as they are known already. */
  secondsLeft?: number | undefined;
  clock?: Clock;
  fetch?: typeof fetch;
}

/** A call at the broker. Create it with {@link followCall}. Its functions need no `this`. */
export interface FollowedCall {
  readonly id: string;
  getSnapshot(): CallSnapshot;
  /** Calls `listener` when the snapshot changes: each second while the call runs. */
  subscribe(listener: () => void): () => void;
  on<K extends keyof CallEvents>(type: K, listener: (event: CallEvents[K]) => void, options?: ListenOptions): () => void;
  /** Asks the broker now. Never rejects: without an answer the snapshot stays as it is. */
  look(): Promise<CallSnapshot>;
  /** Hangs up. Never rejects: a hang-up that reaches nobody is left to the limits of the call. */
  hangUp(): Promise<void>;
}

/** Follows a call until it is over. */
export function followCall({ url, ticket, secondsLeft, clock = systemClock, fetch: send = fetch }: FollowOptions): FollowedCall {
  const { on, emit } = createListeners<CallEvents & { change: undefined }>();
  const following = new AbortController();
  const { signal } = following;
  let snapshot = UNKNOWN;
  let revision = -1;
  /** The countdown: the seconds that were left, and both clocks at that time. */
  let start = { seconds: 0, wall: 0, monotonic: 0 };
  let ticking: unknown;
  let hanging: Promise<void> | undefined;

  const left = (): number => start.seconds - (clock.monotonic() - start.monotonic) / 1000;
  const count = (seconds: number): void => {
    // The broker rounds up. A countdown that agrees goes on as it is, so that it never stutters.
    if (snapshot.secondsLeft === null || Math.ceil(left()) !== seconds) start = { seconds, wall: clock.wall(), monotonic: clock.monotonic() };
  };

  const set = (change: Partial<CallSnapshot>): void => {
    const before = snapshot;
    const next = { ...before, ...change };
    if (Object.entries(next).every(([key, value]) => value === before[key as keyof CallSnapshot])) return;
    snapshot = Object.freeze(next);
    emit('change', undefined);
    const { secondsLeft, cost, estimatedCost, warning, endedReason: reason } = next;
    if (secondsLeft !== null && secondsLeft !== before.secondsLeft) emit('secondsLeft', secondsLeft);
    if (cost !== before.cost) emit('cost', cost);
    if (estimatedCost !== before.estimatedCost) emit('estimatedCost', estimatedCost);
    if (warning && !before.warning) emit('warning', { secondsLeft });
    if (!isOver(next) || isOver(before)) return;
    emit('ended', { reason, cost });
    globalThis.removeEventListener?.('pagehide', hangUp);
    void pause(clock, FINAL_MS, signal).then(() => following.abort());
  };

  const tick = (): void => {
    clock.clearTimeout(ticking);
    if (signal.aborted || snapshot.secondsLeft === null) return;
    const gone = clock.monotonic() - start.monotonic;
    if (Math.abs(clock.wall() - start.wall - gone) > JUMP_MS) {
      start.wall = clock.wall() - gone;
      void look();
    }
    set({ secondsLeft: Math.max(Math.ceil(left()), 0) });
    ticking = clock.setTimeout(tick, 1000 - Math.floor(gone % 1000));
  };

  const run = (seconds: number): void => {
    count(seconds);
    set({ secondsLeft: Math.max(Math.ceil(left()), 0) });
    tick();
  };

  const read = (told: unknown): void => {
    const view = Object(told) as CallView;
    // An answer that was overtaken by a newer one says nothing.
    if (!(view.revision >= revision)) return;
    const { state, turns, tokens, warning, reason } = view;
    revision = view.revision;
    const isOpen = state === 'open';
    if (isOpen) run(view.seconds_left);
    const [cost, estimatedCost] = [Number(view.cost), Number(view.estimated_cost ?? 0)];
    set({ state, turns, tokens, warning, cost, estimatedCost, endedReason: reason ?? null, ...(!isOpen && { secondsLeft: null }) });
    // Nothing changes any more.
    if (state === 'ended' || state === 'lost') following.abort();
  };

  const request = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = { Authorization: `Bearer ${ticket}`, ...(path === '/events' && revision >= 0 && { 'Last-Event-ID': `${revision}` }) };
    const response = await send(url + path, { ...init, headers, ...known({ cache: 'no-store', redirect: 'error' }) });
    // The broker forgets tickets a minute after the end.
    if (/401|404|410/.test(`${response.status}`)) read({ ...snapshot, estimated_cost: snapshot.estimatedCost, state: 'ended', revision: Infinity, reason: snapshot.endedReason });
    return response;
  };

  /** Returns whether the broker has answered. */
  const ask = (path: string, init: RequestInit = {}): Promise<boolean> => {
    const asking = new AbortController();
    let timer: unknown;
    // Also ends the wait for a fetch that ignores its signal.
    const late = new Promise<false>((resolve) => {
      timer = clock.setTimeout(() => {
        resolve(false);
        asking.abort();
      }, ANSWER_MS);
    });
    const answer = async (): Promise<boolean> => {
      const response = await request(path, { ...init, signal: asking.signal });
      if (response.ok) read(await response.json());
      return response.ok || isOver(snapshot);
    };
    return Promise.race([answer().catch(() => false), late]).finally(() => clock.clearTimeout(timer));
  };

  const look = async (): Promise<CallSnapshot> => {
    await ask('');
    return snapshot;
  };

  const hangUp = (): Promise<void> => {
    const obtain = async (): Promise<void> => {
      for (let nth = 1; !isOver(snapshot) && nth <= HANG_UPS; nth++) {
        // `keepalive`: also when the page is left.
        if (await ask('/hangup', { method: 'POST', keepalive: true })) return;
        await pause(clock, RETRY_MS * nth, signal);
      }
    };
    return (hanging ??= obtain().finally(() => (hanging = undefined)));
  };

  const listen = async (): Promise<void> => {
    let retryMs = RETRY_MS;
    let failures = 0;
    while (!signal.aborted) {
      const reading = new AbortController();
      const stop = (): void => reading.abort();
      let silent: unknown;
      const alive = (): void => {
        clock.clearTimeout(silent);
        silent = clock.setTimeout(stop, SILENT_MS);
      };
      signal.addEventListener('abort', stop);
      alive();
      failures++;
      const heard = (data: unknown): void => {
        failures = 0;
        read(data);
      };
      await request('/events', { signal: reading.signal })
        .then((response) => readEvents(response, { heard, retry: (ms) => (retryMs = ms), alive }))
        .catch(() => {});
      clock.clearTimeout(silent);
      signal.removeEventListener('abort', stop);
      // Spread, so that a broker that restarts does not meet all pages at once.
      await pause(clock, Math.min(retryMs * 2 ** failures, LONGEST_RETRY_MS) * (1 + Math.random()), signal);
    }
  };

  /** React Native's fetch gives no streams. */
  const poll = async (): Promise<void> => {
    while (!signal.aborted) {
      await look();
      await pause(clock, LOOK_MS, signal);
    }
  };

  if (secondsLeft) run(secondsLeft);
  globalThis.addEventListener?.('pagehide', hangUp);
  void (typeof ReadableStream === 'undefined' ? poll : listen)();
  return { id: `${url.split('/').pop()}`, getSnapshot: () => snapshot, subscribe: (listener) => on('change', listener), on, look, hangUp };
}
