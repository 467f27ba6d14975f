// Owns a page in memory: whether it is seen, whether it is online, and the events that say so.
import type { PageLike } from '../options.js';

/** A page to pass as the `eventTarget` option. Create it with {@link createFakePage}. */
export class FakePage extends EventTarget implements PageLike {
  readonly document: { visibilityState: string } = { visibilityState: 'visible' };
  readonly navigator: { onLine: boolean } = { onLine: true };
  /** Listeners that are registered now. */
  listeners = 0;

  override addEventListener(...[type, listener, options]: Parameters<EventTarget['addEventListener']>): void {
    this.listeners++;
    super.addEventListener(type, listener, options);
  }

  override removeEventListener(...[type, listener, options]: Parameters<EventTarget['removeEventListener']>): void {
    this.listeners--;
    super.removeEventListener(type, listener, options);
  }

  /** Dispatches an event without fields, like `focus` or `pageshow`. */
  fire(type: string): void {
    this.dispatchEvent(new Event(type));
  }

  /** Hides or shows the page. */
  show(visible: boolean): void {
    this.document.visibilityState = visible ? 'visible' : 'hidden';
    this.fire('visibilitychange');
  }

  /** Takes the network away, or gives it back. */
  connect(online: boolean): void {
    this.navigator.onLine = online;
    this.fire(online ? 'online' : 'offline');
  }
}

/** A visible page that is online. */
export function createFakePage(): FakePage {
  return new FakePage();
}
