// The state machine of a token manager: its state, its events, and one table of transitions.
import type { Held } from './answer.js';
import type { TokenError } from './errors.js';
import type { Flight } from './flight.js';
import type { ExpiryCause, Phase, TokenSnapshot } from './snapshot.js';
import type { RefreshReason } from './sources.js';

/** Shortest time between two mints that nobody asked for, in milliseconds. */
export const FLOOR_MS = 5000;

/** Everything that changes. */
export interface State {
  /** The token in use. */
  held: Held | null;
  /** The last token of this user: a refresh names its session. */
  previous: Held | null;
  /** The cycle of requests under way. */
  flight: Flight<Held> | null;
  /** The attempt of that cycle, from 1. */
  attempt: number;
  /** The time of the next attempt, while the cycle pauses. */
  nextAttemptAt: number | null;
  /** The last failed attempt of that cycle. */
  error: TokenError | null;
  /** The failure that ended the last cycle. */
  failed: TokenError | null;
  /** Milliseconds, of `most`, for which that failure still keeps others from asking. */
  waits: (most?: number) => number;
  /** The phase without a token and a cycle. */
  rest: Phase;
  /** True when a token that ends should be followed by another one. */
  wanted: boolean;
  /** The reason of the next request, when it overrides that of the caller. */
  why: RefreshReason | null;
  /** Milliseconds since the last mint. */
  sinceMint: () => number;
  /** Counts the users so far. */
  user: number;
}

/** What an event changes. */
export type Change = Partial<State>;

const LANDED: Change = { flight: null, attempt: 0, nextAttemptAt: null, error: null };
const FORGIVEN: Change = { failed: null, waits: () => 0 };
const dropped = (rest: Phase, wanted = false): Change => ({ held: null, rest, wanted });

/** The state of a new manager. */
export const START: State = {
  ...(LANDED as State),
  ...FORGIVEN,
  ...dropped('idle'),
  previous: null,
  why: 'initial',
  sinceMint: () => Infinity,
  user: 0,
};

// The transitions. Each function is one event and returns what the event changes.

/** A cycle of requests starts. */
export const started = (flight: Flight<Held>): Change => ({ flight });

/** An attempt of the cycle starts. */
export const attempted = (attempt: number): Change => ({ attempt, nextAttemptAt: null });

/** An attempt failed, and another one follows. */
export const paused = (error: TokenError, nextAttemptAt: number): Change => ({ error, nextAttemptAt });

/** The cycle ended with a failure. */
export const gaveUp = ({ held, rest }: State, failed: TokenError, waits: State['waits']): Change => ({
  ...LANDED,
  failed,
  waits,
  wanted: true,
  rest: held ? rest : 'failed',
});

/** The last caller stopped waiting for the cycle. */
export const deserted = (): Change => LANDED;

/** The cycle ended with a token. */
export const arrived = (held: Held, previous: Held, sinceMint: State['sinceMint']): Change => ({
  ...LANDED,
  ...FORGIVEN,
  held,
  previous,
  sinceMint,
  wanted: true,
  why: null,
});

/** The token reached its end. */
export const expired = (): Change => dropped('expired', true);

/** The token was handed out as often as it may be. The next one must be another one. */
export const usedUp = (): Change => ({ ...dropped('idle'), why: 'invalidated' });

/** A server refused the token. */
export const invalidated = (): Change => ({ ...FORGIVEN, ...dropped('idle'), why: 'invalidated' });

/** The page, its network or its user is back, so the failure may not hold any more. */
export const forgiven = (): Change => FORGIVEN;

/** The options changed after a failure. */
export const changed = ({ held }: State, sinceMint: State['sinceMint']): Change => ({ ...FORGIVEN, sinceMint, wanted: !!held });

/** The user has changed, or with `rest: 'destroyed'` the manager has ended. */
export const forgotten = ({ user, sinceMint }: State, rest: Phase = 'idle'): Change => ({ ...START, sinceMint, user: user + 1, rest });

/** Returns the state after an event. A destroyed manager stays destroyed. */
export const transition = (state: State, change: Change): State => (state.rest === 'destroyed' ? state : { ...state, ...change });

/** Returns how long the token still lives, in milliseconds. */
export const leftOf = ({ held }: State): number => Math.max(held?.left() ?? 0, 0);

/** Returns the milliseconds until a background refresh is due, `early` milliseconds before its time. Infinity when none is. */
export function dueIn(state: State, early = 0): number {
  const { held, wanted, failed, flight, sinceMint, waits } = state;
  const willing = wanted && (!failed || (held && failed.retryable));
  if (!willing || flight) return Infinity;
  const lead = held ? Math.min(held.leadMs + early, held.token.lifetimeMs / 2) : 0;
  return Math.max(leftOf(state) - lead, FLOOR_MS - sinceMint(), waits());
}

/** Returns the phase of a state. `isPaused`: background refreshes pause. */
export function phaseOf({ flight, nextAttemptAt, held, previous, rest }: State, isPaused: boolean): Phase {
  if (flight) return nextAttemptAt ? 'backoff' : held ? 'refreshing' : 'requesting';
  if (previous && isPaused) return 'paused';
  return held ? 'ready' : rest;
}

/** Returns what observers see of a state. `resting` is why background refreshes rest, if they do. */
export function snapshotOf(state: State, resting: ExpiryCause | null): TokenSnapshot {
  const { held, failed, error, attempt, nextAttemptAt } = state;
  const token = held?.token ?? null;
  return {
    phase: phaseOf(state, resting === 'paused'),
    token,
    expiresAt: token?.expiresAt ?? null,
    refreshAt: held && !resting ? held.token.expiresAt - held.leadMs : null,
    error: error ?? failed,
    attempt,
    nextAttemptAt,
  };
}
