// Moves the state machine of one manager: fetches tokens when they are due, ends expired ones, and tells observers.
import type { Held } from './answer.js';
import { LEAST_WAIT_MS, mint } from './attempts.js';
import { checkAborted, stopwatch } from './clock.js';
import type { TokenError } from './errors.js';
import type { Listeners } from './events.js';
import { createFlight, type Flight } from './flight.js';
import type { Handles } from './handles.js';
import {
  arrived,
  attempted,
  type Change,
  deserted,
  dueIn,
  expired,
  FLOOR_MS,
  gaveUp,
  leftOf,
  paused,
  snapshotOf,
  START,
  started,
  type State,
  transition,
} from './machine.js';
import type { Settings } from './options.js';
import { type ExpiryCause, IDLE, type TokenEvents, type TokenSnapshot } from './snapshot.js';
import type { RefreshReason } from './sources.js';

/** How long callers share a failure that named no wait, in milliseconds. */
const SHARED_FAILURE_MS = 5000;
/** Longest timer, in milliseconds. A short one is delayed little by sleep and throttling, and cannot overflow. */
const TICK_MS = 15_000;

/** The running machine. */
export interface Cycle {
  state: () => State;
  snapshot: () => TokenSnapshot;
  /** Applies an event and tells observers. */
  move: (change: Change) => void;
  /** Milliseconds that the token still lives. */
  left: () => number;
  expire: () => void;
  /** Looks at the time and the page, and does what is due. */
  check: (reason?: RefreshReason) => void;
  /** Starts a request for a caller. */
  start: (reason: RefreshReason) => Flight<Held>;
  /** Fetches a token that no caller waits for, when the last mint and the last failure are long enough ago. */
  renew: (reason: RefreshReason) => void;
}

export function createCycle(
  options: () => Settings,
  resting: () => ExpiryCause | null,
  take: Handles['take'],
  emit: Listeners<TokenEvents>['emit'],
): Cycle {
  let state = START;
  let snapshot = IDLE;
  let timer: unknown;
  const warned = new Set<string>();

  const left = (): number => leftOf(state);
  const warn = (message: string): void => {
    if (!warned.has(message)) options().logger.warn?.(message);
    warned.add(message);
  };

  /** Publishes the state. Observers are called when it is complete, so they may call back. */
  const commit = (): void => {
    const next = snapshotOf(state, resting());
    if (Object.entries(next).every(([key, value]) => value === snapshot[key as keyof TokenSnapshot])) return;
    snapshot = Object.freeze(next);
    emit('stateChange', snapshot);
  };
  const move = (change: Change): void => {
    state = transition(state, change);
    commit();
  };

  const expire = (): void => {
    const { held, failed, flight } = state;
    if (!held || left() > 0) return;
    const cause = resting() ?? (failed || flight ? 'refresh-failed' : 'paused');
    move(expired());
    emit('tokenExpired', { expiredAt: held.token.expiresAt, lateByMs: -held.left(), cause });
  };

  const due = (early?: number): number => (resting() ? Infinity : dueIn(state, early));

  /** `early` is how late the next look may come. */
  const check = (reason: RefreshReason = 'scheduled', early = 0): void => {
    expire();
    if (due(early) <= 0) behind(reason);
    commit();
    const { clock } = options();
    clock.clearTimeout(timer);
    const next = Math.min(state.held?.left() ?? Infinity, due());
    if (next === Infinity) return;
    const asked = Math.ceil(Math.min(next, TICK_MS));
    const since = stopwatch(clock);
    // The timer of a throttled page comes late, and the next one may too: such a page refreshes a little earlier.
    timer = clock.setTimeout(() => check(undefined, Math.min(since() - asked, 60_000)), asked);
  };

  const failure = (attempt: number, error: TokenError, wait?: number): void => {
    const { clock } = options();
    const willRetry = wait !== undefined;
    const nextAttemptAt = willRetry ? clock.wall() + wait : null;
    if (nextAttemptAt) move(paused(error, nextAttemptAt));
    else {
      const ms = Math.max(error.retryAfterMs || SHARED_FAILURE_MS, LEAST_WAIT_MS);
      const since = stopwatch(clock);
      move(gaveUp(state, error, (most = ms) => Math.min(ms, most) - since()));
    }
    emit('tokenError', { error, attempt, willRetry, nextAttemptAt });
    check();
  };

  const fetchToken = async (reason: RefreshReason, signal: AbortSignal): Promise<Held> => {
    const { clock } = options();
    // A wall clock that is set meanwhile must not show as latency.
    const began = clock.monotonic();
    const { token: last, owner, keep } = state.previous ?? {};
    const context = { reason, previous: last ?? null, owner, keep, kept: take, signal };
    const next = await mint(options(), context, warn, (attempt) => move(attempted(attempt)), failure);
    checkAborted(signal);
    const { held, previous } = state;
    // Of two tokens of one user, the one that lives longer.
    const longer = held && held.left() > next.left() && held.owner === next.owner ? held : null;
    if (longer) warn('The new token ends sooner: kept the old.');
    move(arrived(longer ?? next, (longer && previous) ?? next, stopwatch(clock)));
    if (!longer) emit('tokenRefreshed', { token: next.token, reason, latencyMs: clock.monotonic() - began });
    check();
    return longer ?? next;
  };

  const start = (reason: RefreshReason): Flight<Held> => {
    const mine = createFlight(
      (signal) => fetchToken(state.why ?? reason, signal),
      () => {
        if (state.flight !== mine) return;
        move(deserted());
        check();
      },
    );
    move(started(mine));
    return mine;
  };
  const behind = (reason: RefreshReason): void => {
    if (!state.flight) start(reason).join().catch(() => {});
  };
  const renew = (reason: RefreshReason): void => {
    if (state.waits() <= 0 && state.sinceMint() >= FLOOR_MS) behind(reason);
  };

  return { state: () => state, snapshot: () => snapshot, move, left, expire, check, start, renew };
}
