/// <reference lib="esnext.disposable" preserve="true" />
// Decides whether anybody needs a token: a visible page, observers, holds, recent calls.
import type { PageLike, Settings } from './options.js';
import type { ExpiryCause } from './snapshot.js';

/** Keeps the token fresh until it is released. */
export interface Hold extends Disposable {
  release(): void;
}

/** The observed presence. */
export interface Presence {
  /** Returns why background refreshes pause, or null when they do not. */
  resting(): ExpiryCause | null;
  /** Notes that somebody asked for a token. */
  used(): void;
  /** Pauses background refreshes, or resumes them. */
  stop(stopped: boolean): void;
  hold(): Hold;
  /** Counts an observer until the returned function is called. */
  observe(): () => void;
  /** Stops listening for good. */
  close(): void;
}

// pagehide and pageshow, unlike unload, keep a page in the back-forward cache. freeze precedes the discarding of a tab.
const WAKES = ['visibilitychange', 'pageshow', 'pagehide', 'freeze', 'focus', 'resume', 'online'];

/** Calls `changed` with the type of the page's event, if any, when `resting` may have changed or timers may have slept. */
export function createPresence(settings: () => Settings, changed: (type: string) => void): Presence {
  /** The page: undefined before listening, null after `close()`. */
  let target: PageLike | null | undefined;
  /** By the monotonic clock, so that neither sleep nor a changed wall clock looks like idleness. */
  let usedAt = 0;
  let stopped = false;
  let cached = false;
  let holds = 0;
  let observers = 0;
  /** True from the last observer's leaving until the next call or observer. */
  let deserted = false;
  let leaving: unknown;

  const desert = (): void => {
    deserted = !observers;
    changed('');
  };
  const heard = ({ type }: Event): void => {
    if (type.startsWith('page')) cached = type === 'pagehide';
    changed(type);
  };
  /** Starts listening to the page at the first use, so that a server or an import touches nothing. */
  const arrive = (): void => {
    if (target === undefined) {
      target = settings().page ?? null;
      // Captured, because events of the document reach the window in the capturing phase only.
      for (const type of WAKES) target?.addEventListener(type, heard, true);
    }
    if (deserted) {
      deserted = false;
      changed('');
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
      changed('');
    },
    hold() {
      let held = 1;
      holds++;
      changed('');
      const release = (): void => {
        holds -= held;
        held = 0;
        changed('');
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
