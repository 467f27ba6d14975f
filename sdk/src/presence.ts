/// <reference lib="esnext.disposable" preserve="true" />
// Owns whether anybody is there: a visible page, observers, holds, calls; and so whether to fetch behind the scenes.
import type { PageLike, Settings } from './options.js';
import type { ExpiryCause } from './snapshot.js';

/** Keeps the manager fresh until it is released. */
export interface Hold extends Disposable {
  release(): void;
}

// The pair pagehide and pageshow is the one that the back-forward cache allows.
const WAKES = ['visibilitychange', 'pageshow', 'pagehide', 'focus', 'resume', 'online'];

/** Who is there. */
export class Presence {
  readonly #settings: () => Settings;
  readonly #changed: (online: boolean) => void;
  #page: PageLike | undefined;
  /** Monotonic, so that neither sleep nor a clock that was set looks like idleness. */
  #usedAt = 0;
  #stopped = false;
  #cached = false;
  #holds = 0;
  #observers = 0;
  /** True after the last observer has left, until somebody asks or looks again. */
  #deserted = false;
  #leaving: unknown;

  /** `changed` is called whenever the answer of `resting` may have changed, or timers may have slept. */
  constructor(settings: () => Settings, changed: (online: boolean) => void) {
    this.#settings = settings;
    this.#changed = changed;
  }

  /** Why nothing should be fetched behind the scenes, if so. */
  resting(): ExpiryCause | null {
    const { autoRefresh, whenHidden, maxIdleMs, page, clock } = this.#settings();
    const hidden = this.#cached || page?.document?.visibilityState === 'hidden';
    if (!autoRefresh) return 'disabled';
    if (this.#stopped) return 'paused';
    if (this.#holds) return null;
    if (this.#deserted || (hidden && whenHidden === 'pause')) return 'paused';
    return clock.monotonic() - this.#usedAt > maxIdleMs ? 'idle' : null;
  }

  /** Somebody asked for a token. */
  used(): void {
    const { clock } = this.#settings();
    const before = this.#deserted;
    this.#usedAt = clock.monotonic();
    clock.clearTimeout(this.#leaving);
    this.#deserted = false;
    if (before) this.#changed(false);
  }

  stop(stopped: boolean): void {
    this.#stopped = stopped;
    this.#changed(false);
  }

  hold(): Hold {
    let held = 1;
    const change = (by: number): void => {
      this.#holds += by;
      this.#changed(false);
    };
    const release = (): void => {
      if (held) change(-held);
      held = 0;
    };
    change(held);
    return { release, [Symbol.dispose]: release };
  }

  /** Somebody looks, until the answer is called. */
  observe(): () => void {
    const before = this.#deserted;
    this.#observers++;
    this.#deserted = false;
    this.listen();
    if (before) this.#changed(false);
    return () => {
      if (--this.#observers) return;
      // Deferred, so that a remount in the same task changes nothing.
      this.#leaving = this.#settings().clock.setTimeout(() => {
        this.#deserted = !this.#observers;
        this.#changed(false);
      }, 0);
    };
  }

  /** Listens to the page; not before the first use, so that a server or an import touches nothing. */
  listen(): void {
    if (this.#page) return;
    this.#page = this.#settings().page;
    // Captured, because a window sees events of its document only on their way down.
    for (const type of WAKES) this.#page?.addEventListener(type, this.#heard, true);
  }

  close(): void {
    for (const type of WAKES) this.#page?.removeEventListener(type, this.#heard, true);
  }

  readonly #heard = ({ type }: Event): void => {
    if (type.startsWith('page')) this.#cached = type === 'pagehide';
    this.#changed(type === 'online');
  };
}
