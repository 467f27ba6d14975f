// Keeps the broker's session across a reload of the page: its handle, never a key, in this tab's sessionStorage.
import type { PageLike } from './options.js';

/**
 * The handles of one manager. While a page lives, its handle is in memory only. It is stored when the page is hidden for
 * good and taken back by the next page of the tab, so that a duplicated tab never gets the same session.
 */
export interface Handles {
  /** Returns the handle that the last page stored under `key`. */
  take(key: string): string | undefined;
  save(key: string | undefined, handle: string | undefined): void;
  /** Forgets what was taken, and removes what was stored under keys with `prefix`. */
  drop(prefix: string): void;
}

export function createHandles(page: () => PageLike | undefined): Handles {
  let taken: Record<string, string | undefined> = {};
  /** A browser may refuse access to its storage. */
  const attempt = (use: (storage: Storage) => void): void => {
    try {
      use(page()?.sessionStorage as Storage);
    } catch {}
  };
  return {
    take(key) {
      attempt((storage) => {
        taken[key] ??= storage.getItem(key) ?? undefined;
        storage.removeItem(key);
      });
      return taken[key];
    },
    save(key, handle) {
      attempt((storage) => key && handle && storage.setItem(key, handle));
    },
    drop(prefix) {
      taken = {};
      attempt((storage) => {
        for (const key of Object.keys(storage)) if (key.startsWith(prefix)) storage.removeItem(key);
      });
    },
  };
}
