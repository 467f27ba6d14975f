// A page in memory: its visibility, its network, its storage, and the events about them.
import type { PageLike } from '../options.js';

/** A page to pass as the `eventTarget` option. Create it with {@link createFakePage}. */
export class FakePage extends EventTarget implements PageLike {
  readonly document: { visibilityState: string } = { visibilityState: 'visible' };
  readonly navigator: { onLine: boolean } = { onLine: true };
  /** The storage of the tab. Pass the storage of another fake page to simulate a reload. */
  readonly sessionStorage: Storage;
  /** The number of registered listeners. */
  listeners = 0;

  constructor(storage: Storage = createFakeStorage()) {
    super();
    this.sessionStorage = storage;
  }

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

/** Creates a visible page that is online, in the tab that `storage` belongs to. */
export function createFakePage(storage?: Storage): FakePage {
  return new FakePage(storage);
}

/** Returns an empty storage. Like a real one, it lists its items as its own properties. */
function createFakeStorage(): Storage {
  const methods = {
    getItem: (key: string) => storage[key] ?? null,
    setItem: (key: string, value: string) => void (storage[key] = value),
    removeItem: (key: string) => void delete storage[key],
  };
  const storage = Object.create(methods) as Record<string, string>;
  return storage as unknown as Storage;
}
