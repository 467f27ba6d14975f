// The page as the client sees it: real visibility and network, except for simulated faults.
import type { PageLike } from './sdk.js';

const HEARD = ['visibilitychange', 'pageshow', 'pagehide', 'focus', 'resume', 'online', 'offline'];

/** A window that can go offline on request. */
export class LabPage extends EventTarget implements PageLike {
  #offline = false;
  readonly document: Document = document;
  readonly navigator: { readonly onLine: boolean };

  constructor() {
    super();
    const offline = (): boolean => this.#offline;
    this.navigator = {
      get onLine() {
        return navigator.onLine && !offline();
      },
    };
    for (const type of HEARD) addEventListener(type, () => this.dispatchEvent(new Event(type)), true);
  }

  get offline(): boolean {
    return this.#offline;
  }

  set offline(offline: boolean) {
    this.#offline = offline;
    this.dispatchEvent(new Event(offline ? 'offline' : 'online'));
  }

  /** Tells the client that the machine woke up. */
  wake(): void {
    this.dispatchEvent(new Event('resume'));
  }
}
