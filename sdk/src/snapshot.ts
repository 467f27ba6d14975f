// Owns what observers see: phases, the snapshot and the events of a manager.
import type { TokenError } from './errors.js';
import type { RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** What the manager is doing. `paused` and `expired` end with the next call. */
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

/** An immutable picture; the same object until something changes. Times are epoch milliseconds on this device's clock. */
export interface TokenSnapshot {
  readonly phase: Phase;
  readonly token: RealtimeToken | null;
  readonly expiresAt: number | null;
  /** When the refresh behind the scenes is due. */
  readonly refreshAt: number | null;
  /** The last failure, until a token arrives. */
  readonly error: TokenError | null;
  /** The attempt under way, from 1; 0 when there is none. */
  readonly attempt: number;
  readonly nextAttemptAt: number | null;
}

/** The picture before anything happened, and on a server. */
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

/** What is told, and with what. */
export interface TokenEvents {
  /** A token arrived, the first one too. */
  tokenRefreshed: { token: RealtimeToken; reason: RefreshReason; latencyMs: number };
  /** A token reached its end and none had replaced it; once for each token. */
  tokenExpired: { expiredAt: number; lateByMs: number; cause: ExpiryCause };
  /** An attempt failed. */
  tokenError: { error: TokenError; attempt: number; willRetry: boolean; nextAttemptAt: number | null };
  stateChange: TokenSnapshot;
}
