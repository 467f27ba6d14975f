// What observers see: the phases, the snapshot and the events of a manager.
import type { TokenError } from './errors.js';
import type { RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** What the manager does. `paused` and `expired` end with the next call. */
export type Phase =
  | 'idle'
  | 'requesting'
  | 'ready'
  | 'refreshing'
  | 'backoff'
  | 'paused'
  | 'expired'
  | 'failed'
  | 'destroyed';

/** An immutable snapshot: the same object until something changes. Times are epoch milliseconds of this device's clock. */
export interface TokenSnapshot {
  readonly phase: Phase;
  readonly token: RealtimeToken | null;
  readonly expiresAt: number | null;
  /** When the background refresh is due. For display: it moves with a wall clock that is set. */
  readonly refreshAt: number | null;
  /** The last failure, until a token arrives. */
  readonly error: TokenError | null;
  /** The attempt under way, from 1; 0 when there is none. */
  readonly attempt: number;
  readonly nextAttemptAt: number | null;
}

/** The snapshot before the first request, and on a server. */
export const IDLE: TokenSnapshot = Object.freeze({
  phase: 'idle',
  token: null,
  expiresAt: null,
  refreshAt: null,
  error: null,
  attempt: 0,
  nextAttemptAt: null,
});

/** Why a token ended without a newer one. */
export type ExpiryCause = 'refresh-failed' | 'paused' | 'idle' | 'disabled';

/** The events. */
export interface TokenEvents {
  /** A token arrived, including the first one. */
  tokenRefreshed: { token: RealtimeToken; reason: RefreshReason; latencyMs: number };
  /** A token reached its end without a successor. Once for each token. */
  tokenExpired: { expiredAt: number; lateByMs: number; cause: ExpiryCause };
  /** An attempt failed. */
  tokenError: { error: TokenError; attempt: number; willRetry: boolean; nextAttemptAt: number | null };
  stateChange: TokenSnapshot;
}
