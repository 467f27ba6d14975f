// Owns listeners: their order, their removal, and that one which throws stops nobody else.

/** How to listen. */
export interface ListenOptions {
  once?: boolean;
  /** Stops listening when it aborts. */
  signal?: AbortSignal;
}

interface Entry {
  call: (event: never) => void;
  forget: () => void;
}

/** Listeners by type of event. A listener is there once for each type. */
export class Listeners<Events extends object> {
  readonly #lists = new Map<keyof Events, Map<unknown, Entry>>();

  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void, options: ListenOptions = {}): () => void {
    const { once, signal } = options;
    const off = (): void => this.off(type, listener);
    if (signal?.aborted) return off;
    off();
    const call = (event: Events[K]): void => {
      if (once) off();
      listener(event);
    };
    signal?.addEventListener('abort', off);
    const list = this.#lists.get(type) ?? new Map<unknown, Entry>();
    this.#lists.set(type, list.set(listener, { call, forget: () => signal?.removeEventListener('abort', off) }));
    return off;
  }

  off<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): void {
    const list = this.#lists.get(type);
    list?.get(listener)?.forget();
    list?.delete(listener);
  }

  emit<K extends keyof Events>(type: K, event: Events[K]): void {
    const list = this.#lists.get(type);
    for (const [listener, entry] of [...(list ?? [])]) {
      // One that an earlier listener removed is not called any more.
      if (list?.get(listener) !== entry) continue;
      try {
        (entry.call as (event: Events[K]) => void)(event);
      } catch (error) {
        report(error);
      }
    }
  }

  clear(): void {
    for (const list of this.#lists.values()) {
      for (const entry of list.values()) entry.forget();
      list.clear();
    }
  }
}

/** Hands a listener's fault to the platform, as an uncaught error in a handler would be. */
function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else console.error(error);
}
