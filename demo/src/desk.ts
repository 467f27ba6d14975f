// Holds the token manager of the current user and passes on its events.
import { BASE, type Person } from './about.js';
import type { LabClock } from './lab-clock.js';
import type { LabPage } from './lab-page.js';
import { createTokenManager, type TokenEvents, type TokenManager, type TokenSnapshot } from './sdk.js';
import { Signal } from './signal.js';
import type { Wire } from './wire.js';

/** The parts of the client that this page replaces to inject faults. */
export interface Lab {
  clock: LabClock;
  page: LabPage;
  wire: Wire;
}

type Told = { [K in 'tokenRefreshed' | 'tokenExpired' | 'tokenError']: { type: K } & TokenEvents[K] };

/** An event of the token manager, with its name. */
export type DeskEvent = Told[keyof Told];

/** The source of keys for the whole page. */
export class Desk {
  readonly told = new Signal<DeskEvent>();
  readonly changed = new Signal<TokenSnapshot>();
  readonly #lab: Lab;
  #person: Person | null = null;
  #tokens: TokenManager;
  readonly #tickets = new Map<string, TokenManager>();
  /** The persona of calls through the broker. Null: the one of all other keys. */
  readonly callPersona: string | null;

  constructor(lab: Lab, callPersona: string | null) {
    this.#lab = lab;
    this.callPersona = callPersona;
    this.#tokens = this.#open();
  }

  get tokens(): TokenManager {
    return this.#tokens;
  }

  /** Returns the source of keys that open calls at the broker, or relays. */
  tickets(connect: 'call' | 'relay'): TokenManager {
    const { callPersona: persona } = this;
    if (!persona) return this.#tokens;
    const tickets = this.#tickets.get(connect) ?? createTokenManager({ baseUrl: BASE.href, headers: this.credential, body: { persona, connect }, autoRefresh: false });
    this.#tickets.set(connect, tickets);
    return tickets;
  }

  get person(): Person | null {
    return this.#person;
  }

  /** Returns the wall clock that the client sees. */
  wall(): number {
    return this.#lab.clock.wall();
  }

  /** Changes the user. A session belongs to one identity, so each user gets a new manager. */
  signIn(person: Person | null): void {
    this.#tokens.destroy();
    for (const tickets of this.#tickets.values()) tickets.destroy();
    this.#tickets.clear();
    this.#person = person;
    this.#tokens = this.#open();
    this.changed.tell(this.#tokens.getSnapshot());
  }

  /** Returns the headers that identify the user. */
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
