// A call at the broker in a component: its countdown, its price, its end.
import { useCallback, useSyncExternalStore } from 'react';
import type { FollowedCall } from '../call/follow.js';
import { type CallSnapshot, UNKNOWN } from '../call/snapshot.js';

/** What a page shows of a call. */
export type RealtimeCallState = CallSnapshot & { hangUp: () => void };

const silent = (): (() => void) => () => {};
const unknown = (): CallSnapshot => UNKNOWN;

/** Follows `call` of `useRealtimeConnection`. Renders its own component only, each second. Everything is null without a call. */
export function useRealtimeCall(call: FollowedCall | null | undefined): RealtimeCallState {
  const snapshot = useSyncExternalStore(call?.subscribe ?? silent, call?.getSnapshot ?? unknown, unknown);
  const hangUp = useCallback(() => void call?.hangUp(), [call]);
  return { ...snapshot, hangUp };
}
