// The token in a component, and its countdown.
import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { TokenError } from '../errors.js';
import { IDLE, type Phase } from '../snapshot.js';
import type { RealtimeToken } from '../token.js';
import type { TokenManager } from '../token-manager.js';
import { useManager } from './context.js';

/** The state of the token. `phase` is the manager's own, finer state. */
export type RealtimeTokenState = { phase: Phase; request: () => void; refresh: () => void } & (
  | { status: 'idle' | 'loading'; token: null; error: TokenError | null }
  | { status: 'ready'; token: RealtimeToken; error: TokenError | null }
  | { status: 'error'; token: null; error: TokenError }
);

const server = (): typeof IDLE => IDLE;

/** Follows the token of `manager`. Requests one when it mounts, unless `request` is false. */
export function useRealtimeToken(manager?: TokenManager, { request = true }: { request?: boolean } = {}): RealtimeTokenState {
  const tokens = useManager(manager);
  const actions = useMemo(() => {
    // A failure is in the state. A click handler has nobody to catch it.
    const quietly = (promise: Promise<unknown>): void => void promise.catch(() => {});
    return { request: () => quietly(tokens.requestToken()), refresh: () => quietly(tokens.refreshToken()) };
  }, [tokens]);
  const { token, error, phase } = useSyncExternalStore(tokens.subscribe, tokens.getSnapshot, server);
  useEffect(() => {
    if (request) actions.request();
  }, [actions, request]);
  const loading = phase === 'requesting' || phase === 'backoff';
  const status = token ? 'ready' : loading ? 'loading' : error ? 'error' : 'idle';
  return { status, token, error, phase, ...actions } as RealtimeTokenState;
}

/** Returns the seconds that the token still lives, or null without a token. Renders its own component only, each `intervalMs`. */
export function useTokenCountdown(manager?: TokenManager, { intervalMs = 1000 }: { intervalMs?: number } = {}): { secondsLeft: number | null } {
  const tokens = useManager(manager);
  const subscribe = useCallback(
    (listener: () => void) => {
      const off = tokens.subscribe(listener);
      const timer = setInterval(listener, intervalMs);
      return () => {
        clearInterval(timer);
        off();
      };
    },
    [tokens, intervalMs],
  );
  const left = (): number | null => Math.ceil(tokens.getTimeUntilExpiration() / 1000) || null;
  return { secondsLeft: useSyncExternalStore(subscribe, left, () => null) };
}
