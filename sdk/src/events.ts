// Owns listeners: their order, their removal, and that one which throws stops nobody else.

/** How to listen. */
export interface ListenOptions {
  once?: boolean;
  /** Stops listening when it aborts. */
  signal?: AbortSignal;
}

/** Listeners by type of event, called in the order in which they came. */
export interface Listeners<Events extends object> {
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void, options?: ListenOptions): () => void;
  off<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): void;
  emit<K extends keyof Events>(type: K, event: Events[K]): void;
  /** Removes all, and lets nobody listen any more. */
  close(): void;
}

interface Entry {
  type: unknown;
  listener: unknown;
  once: boolean | undefined;
  end: () => void;
}

export function createListeners<Events extends object>(): Listeners<Events> {
  const entries = new Set<Entry>();
  let closed = false;
  return {
    on(type, listener, { once, signal } = {}) {
      const end = (): void => {
        entries.delete(entry);
        signal?.removeEventListener('abort', end);
      };
      const entry = { type, listener, once, end };
      if (closed || signal?.aborted) return end;
      signal?.addEventListener('abort', end);
      entries.add(entry);
      return end;
    },
    off(type, listener) {
      for (const entry of entries) if (entry.type === type && entry.listener === listener) entry.end();
    },
    emit(type, event) {
      for (const entry of [...entries]) {
        // One that an earlier listener removed is not called any more.
        if (entry.type !== type || !entries.has(entry)) continue;
        if (entry.once) entry.end();
        try {
          (entry.listener as (event: unknown) => void)(event);
        } catch (error) {
          (globalThis.reportError ?? console.error)(error);
        }
      }
    },
    close() {
      closed = true;
      for (const entry of entries) entry.end();
    },
  };
}
