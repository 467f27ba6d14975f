// What a page knows of its call: the words of the broker, and how they are read.

/** Where a call stands. `ending`: the broker has hung up, and the provider has not confirmed it yet. */
export type CallState = 'dialling' | 'open' | 'ending' | 'ended' | 'lost';

/** Why a call ended. `docs/calls.md` says what each means. */
export type EndReason =
  | 'time_limit'
  | 'money_limit'
  | 'turn_limit'
  | 'idle'
  | 'not_joined'
  | 'hung_up'
  | 'logged_out'
  | 'operator'
  | 'persona_violation'
  | 'blind'
  | 'provider'
  | 'shutdown';

/** An immutable snapshot: the same object until something changes. */
export interface CallSnapshot {
  /** Null until the broker has told. */
  readonly state: CallState | null;
  /** Whole seconds until the call ends. Null while it does not run. */
  readonly secondsLeft: number | null;
  /** True once little time is left. */
  readonly warning: boolean;
  /** Answers of the model so far. */
  readonly turns: number;
  /** Tokens so far, input and output together. */
  readonly tokens: number;
  /** Price so far in US dollars. */
  readonly cost: number;
  /** The part of the price that is an estimate, because nobody measured it, in US dollars. */
  readonly estimatedCost: number;
  /** Why the call ended. Null while it runs, and when the broker does not say. */
  readonly endedReason: EndReason | null;
}

/** The snapshot before the broker has told anything. */
export const UNKNOWN: CallSnapshot = Object.freeze({
  state: null,
  secondsLeft: null,
  warning: false,
  turns: 0,
  tokens: 0,
  cost: 0,
  estimatedCost: 0,
  endedReason: null,
});

/** The events of a call. */
export interface CallEvents {
  /** Another second is over, or the broker corrected the countdown. */
  secondsLeft: number;
  /** The price so far in US dollars, when it has changed. */
  cost: number;
  /** The estimated part of the price in US dollars, when it has changed. */
  estimatedCost: number;
  /** Little time is left. Once. */
  warning: { secondsLeft: number | null };
  /** The call is over. Once. `reason` is null when the broker no longer knows the call. */
  ended: { reason: EndReason | null; cost: number };
}

/** What the broker tells of a call, in `GET /calls/{id}` and in every event. */
export interface CallView extends Pick<CallSnapshot, 'warning' | 'turns' | 'tokens'> {
  state: CallState;
  revision: number;
  seconds_left: number;
  cost: string;
  /** A broker of November 2026 does not tell. */
  estimated_cost?: string;
  reason?: EndReason;
}

/** Returns true for a call that runs no more, or is being hung up. */
export const isOver = ({ state, endedReason }: CallSnapshot): boolean => !!endedReason || state === 'ended' || state === 'lost';
