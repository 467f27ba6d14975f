// A connection in a component. Its status is the connection's, never the token's.
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { type Closable, Connection, type ConnectionOptions, type ConnectionSnapshot } from '../connection.js';
import type { TokenManager } from '../token-manager.js';
import { useManager } from './context.js';

export type RealtimeConnectionState<S> = ConnectionSnapshot<S> & { connect: () => Promise<void>; disconnect: () => void };

/** The options of a connection. `tokens` may come from a provider. */
export type UseConnectionOptions<S extends Closable> = Omit<ConnectionOptions<S>, 'tokens'> & { tokens?: TokenManager };

/** Returns a connection that lives as long as the component: microphone, then key, then `connect`. Actions are stable. */
export function useRealtimeConnection<S extends Closable>(options: UseConnectionOptions<S>): RealtimeConnectionState<S> {
  const latest = { ...options, tokens: useManager(options.tokens) };
  const [connection] = useState(() => new Connection<S>(latest));
  const mounted = useRef(false);
  useEffect(() => {
    connection.options = latest;
  });
  useEffect(() => {
    mounted.current = true;
    return () => {
      mounted.current = false;
      // Deferred, so that the remount of StrictMode keeps the connection.
      setTimeout(() => mounted.current || connection.disconnect());
    };
  }, [connection]);
  const { connect, disconnect, getSnapshot, subscribe } = connection;
  return { ...useSyncExternalStore(subscribe, getSnapshot, getSnapshot), connect, disconnect };
}
