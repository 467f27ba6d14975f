// Owns listeners: their order, their removal, and that one which throws stops nobody else.

/** How to listen. */
export interface ListenOptions {
  once?: boolean;
  /** Stops listening when it aborts. */
  signal?: AbortSignal;
}

type Listener<Event> = (event: Event) => void;
/** Whether to call once, and how to let go of the signal. */
type Entry = [once: boolean | undefined, forget: () => void];
type Lists<Events> = { [K in keyof Events]?: Map<Listener<Events[K]>, Entry> };

/** Listeners by type of event. A listener is there once for each type. */
export class Listeners<Events extends object> {
  readonly #lists: Lists<Events> = {};

  on<K extends keyof Events>(type: K, listener: Listener<Events[K]>, { once, signal }: ListenOptions = {}): () => void {
    const off = (): void => this.off(type, listener);
    off();
    if (signal?.aborted) return off;
    signal?.addEventListener('abort', off);
    (this.#lists[type] ??= new Map()).set(listener, [once, () => signal?.removeEventListener('abort', off)]);
    return off;
  }

  off<K extends keyof Events>(type: K, listener: Listener<Events[K]>): void {
    const list = this.#lists[type];
    list?.get(listener)?.[1]();
    list?.delete(listener);
  }

  emit<K extends keyof Events>(type: K, event: Events[K]): void {
    const list = this.#lists[type];
    for (const [listener, [once]] of [...(list ?? [])]) {
      // One that an earlier listener removed is not called any more.
      if (!list?.has(listener)) continue;
      if (once) this.off(type, listener);
      try {
        listener(event);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  clear(): void {
    for (const type in this.#lists) for (const listener of this.#lists[type]?.keys() ?? []) this.off(type, listener);
  }
}
