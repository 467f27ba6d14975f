// Owns the token manager of whoever is signed in, and passes on what it tells.
import { BASE, type Person } from './about.js';
import type { LabClock } from './lab-clock.js';
import type { LabPage } from './lab-page.js';
import { createTokenManager, type TokenEvents, type TokenManager, type TokenSnapshot } from './sdk.js';
import { Signal } from './signal.js';
import type { Wire } from './wire.js';

/** The seams of the client that this page pulls at. */
export interface Lab {
  clock: LabClock;
  page: LabPage;
  wire: Wire;
}

type Told = { [K in 'tokenRefreshed' | 'tokenExpired' | 'tokenError']: { type: K } & TokenEvents[K] };

/** An event of the manager, with its name. */
export type DeskEvent = Told[keyof Told];

/** Where a client secret is to be had. */
export class Desk {
  readonly told = new Signal<DeskEvent>();
  readonly changed = new Signal<TokenSnapshot>();
  readonly #lab: Lab;
  #person: Person | null = null;
  #tokens: TokenManager;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#tokens = this.#open();
  }

  get tokens(): TokenManager {
    return this.#tokens;
  }

  get person(): Person | null {
    return this.#person;
  }

  /** The wall clock that the client sees. */
  wall(): number {
    return this.#lab.clock.wall();
  }

  /** A session belongs to one identity, so another person gets a manager of their own. */
  signIn(person: Person | null): void {
    this.#tokens.destroy();
    this.#person = person;
    this.#tokens = this.#open();
    this.changed.tell(this.#tokens.getSnapshot());
  }

  /** What is sent to say who asks. */
  readonly credential = (): Record<string, string> => (this.#person ? { authorization: `Bearer ${this.#person.bearer}` } : {});

  #open(): TokenManager {
    const { clock, page, wire } = this.#lab;
    const tokens = createTokenManager({
      baseUrl: BASE.href,
      headers: this.credential,
      fetch: wire.fetch,
      clock,
      eventTarget: page,
    });
    tokens.on('stateChange', (snapshot) => this.changed.tell(snapshot));
    tokens.on('tokenRefreshed', (event) => this.told.tell({ type: 'tokenRefreshed', ...event }));
    tokens.on('tokenExpired', (event) => this.told.tell({ type: 'tokenExpired', ...event }));
    tokens.on('tokenError', (event) => this.told.tell({ type: 'tokenError', ...event }));
    return tokens;
  }
}
