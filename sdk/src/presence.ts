/// <reference lib="esnext.disposable" preserve="true" />
// Owns whether anybody is there: a visible page, observers, holds, calls; and so whether to fetch behind the scenes.
import type { PageLike, Settings } from './options.js';
import type { ExpiryCause } from './snapshot.js';

/** Keeps the manager fresh until it is released. */
export interface Hold extends Disposable {
  release(): void;
}

/** Who is there. */
export interface Presence {
  /** Why nothing should be fetched behind the scenes, if so. */
  resting(): ExpiryCause | null;
  /** Somebody asked for a token. */
  used(): void;
  /** Fetches nothing behind the scenes, or may again. */
  stop(stopped: boolean): void;
  hold(): Hold;
  /** Somebody looks, until the answer is called. */
  observe(): () => void;
  /** Stops listening for good. */
  close(): void;
}

// The pair pagehide and pageshow is the one that the back-forward cache allows.
const WAKES = ['visibilitychange', 'pageshow', 'pagehide', 'focus', 'resume', 'online'];

/** `changed` is called whenever the answer of `resting` may have changed, or timers may have slept. */
export function createPresence(settings: () => Settings, changed: (online?: boolean) => void): Presence {
  /** Undefined before it is listened to, null afterwards. */
  let target: PageLike | null | undefined;
  /** Monotonic, so that neither sleep nor a clock that was set looks like idleness. */
  let usedAt = 0;
  let stopped = false;
  let cached = false;
  let holds = 0;
  let observers = 0;
  /** True after the last observer has left, until somebody asks or looks again. */
  let deserted = false;
  let leaving: unknown;

  const desert = (): void => {
    deserted = !observers;
    changed();
  };
  const heard = ({ type }: Event): void => {
    if (type.startsWith('page')) cached = type === 'pagehide';
    changed(type === 'online');
  };
  /** Somebody is there. The page is not listened to before, so that a server or an import touches nothing. */
  const arrive = (): void => {
    if (target === undefined) {
      target = settings().page ?? null;
      // Captured, because a window sees events of its document only on their way down.
      for (const type of WAKES) target?.addEventListener(type, heard, true);
    }
    if (deserted) {
      deserted = false;
      changed();
    }
  };

  return {
    resting() {
      const { autoRefresh, whenHidden, maxIdleMs, page, clock } = settings();
      const hidden = cached || page?.document?.visibilityState === 'hidden';
      if (!autoRefresh) return 'disabled';
      if (stopped) return 'paused';
      if (holds) return null;
      if (deserted || (hidden && whenHidden === 'pause')) return 'paused';
      return clock.monotonic() - usedAt > maxIdleMs ? 'idle' : null;
    },
    used() {
      const { clock } = settings();
      usedAt = clock.monotonic();
      clock.clearTimeout(leaving);
      arrive();
    },
    stop(next) {
      stopped = next;
      changed();
    },
    hold() {
      let held = 1;
      holds++;
      changed();
      const release = (): void => {
        holds -= held;
        held = 0;
        changed();
      };
      return { release, [Symbol.dispose]: release };
    },
    observe() {
      let here = true;
      observers++;
      arrive();
      return () => {
        // Deferred, so that a remount in the same task changes nothing.
        if (here && !--observers) leaving = settings().clock.setTimeout(desert, 0);
        here = false;
      };
    },
    close() {
      for (const type of WAKES) target?.removeEventListener(type, heard, true);
      target = null;
    },
  };
}
