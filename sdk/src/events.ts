// Listeners: called in order, removable, and independent of one that throws.

/** Options of a listener. */
export interface ListenOptions {
  once?: boolean;
  /** Stops listening when it aborts. */
  signal?: AbortSignal;
}

/** Listeners by type of event, called in the order of registration. */
export interface Listeners<Events extends object> {
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void, options?: ListenOptions): () => void;
  off<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): void;
  emit<K extends keyof Events>(type: K, event: Events[K]): void;
  clear(): void;
}

export function createListeners<Events extends object>(): Listeners<Events> {
  /** The listeners, by the function that removes each. */
  const entries = new Map<() => void, [type: unknown, listener: (event: never) => void, once: boolean | undefined]>();
  return {
    on(type, listener, { once, signal } = {}) {
      const end = (): void => {
        entries.delete(end);
        signal?.removeEventListener('abort', end);
      };
      if (signal?.aborted) return end;
      signal?.addEventListener('abort', end);
      entries.set(end, [type, listener, once]);
      return end;
    },
    off(type, listener) {
      for (const [end, entry] of entries) if (entry[0] === type && entry[1] === listener) end();
    },
    emit(type, event) {
      for (const [end, [wanted, listener, once]] of [...entries]) {
        // An earlier listener may have removed this one.
        if (wanted !== type || !entries.has(end)) continue;
        if (once) end();
        try {
          listener(event as never);
        } catch (error) {
          (globalThis.reportError ?? console.error)(error);
        }
      }
    },
    clear() {
      for (const end of entries.keys()) end();
    },
  };
}
