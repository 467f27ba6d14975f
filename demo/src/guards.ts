// Owns the card of the guards: what is left in the windows, what refused last, and two ways to find out.
import { BASE, type Person } from './about.js';
import type { Desk } from './desk.js';
import { enable, make, need, write } from './dom.js';
import type { EventLog } from './log.js';
import { wait } from './words.js';
import type { Reading, Wire } from './wire.js';

/** Most requests that one press sends: the window, and what it takes to be blocked. */
const MOST = 40;
/** Refusals count once a second. */
const KNOCK_MS = 1050;

type Guard = 'token' | 'refresh' | 'block' | 'quota';

interface Row {
  value: HTMLElement;
  /** When it lets us through again, by `performance.now()`. */
  until: number;
  rest: string;
  told: string;
  /** Of a window: a bar as long as what is left. */
  gauge: HTMLElement | null;
  share: number;
  /** What is left when nothing counts: all, once a limit is known. */
  whole: number;
}

/** Shows the guards, from what answers told. */
export class Guards {
  readonly #desk: Desk;
  readonly #wire: Wire;
  readonly #log: EventLog;
  readonly #rows: Record<Guard, Row>;
  #busy = false;
  #who: Person | null = null;

  constructor(desk: Desk, wire: Wire, log: EventLog) {
    this.#desk = desk;
    this.#wire = wire;
    this.#log = log;
    this.#rows = { token: row('New sessions'), refresh: row('Refreshes'), block: row('Block', 'none'), quota: row('Quota', '–') };
    need('guards').hidden = false;
    wire.heard.on((reading) => this.#hear(reading));
    need('spend').addEventListener('click', () => void this.#ask('Asks until it is refused', 0));
    need('knock').addEventListener('click', () => void this.#ask('Goes on asking when it is refused', KNOCK_MS));
    desk.changed.on(() => this.#person());
    this.#person();
    setInterval(() => this.#show(), 500);
  }

  #person(): void {
    const { person } = this.#desk;
    const { quota } = this.#rows;
    // Whose quota it was is somebody else now.
    if (this.#who !== person) quota.until = 0;
    this.#who = person;
    quota.rest = person ? `${person.name}'s: nothing refused` : 'for people only: sign in';
  }

  #hear({ made, path, window, code, retryAfterSeconds = 0 }: Reading): void {
    if (made) return;
    const now = performance.now();
    if (window) {
      const row = this.#rows[path === '/token' ? 'token' : 'refresh'];
      const { limit, left, resetSeconds } = window;
      const until = now + resetSeconds * 1000;
      Object.assign(row, { rest: `${limit} of ${limit} left`, told: `${left} of ${limit} left`, until, share: left / limit, whole: 1 });
      row.value.dataset['tone'] = left ? 'good' : 'bad';
    }
    if (code === 'blocked') this.#refused('block', 'blocked', now + retryAfterSeconds * 1000);
    if (code === 'quota_exceeded') this.#refused('quota', 'used up', now + retryAfterSeconds * 1000);
    this.#show();
  }

  #refused(guard: Guard, told: string, until: number): void {
    Object.assign(this.#rows[guard], { told, until });
    this.#rows[guard].value.dataset['tone'] = 'bad';
  }

  #show(): void {
    const now = performance.now();
    for (const { value, gauge, share, whole, until, rest, told } of Object.values(this.#rows)) {
      const left = until - now;
      if (left <= 0) value.dataset['tone'] = 'good';
      write(value, left > 0 ? `${told} · ${wait(left)}` : rest);
      gauge?.style.setProperty('--long', `${(left > 0 ? share : whole) * 100}%`);
    }
  }

  /** Asks for sessions, without the client, until the first refusal, or with a pause after each until it is blocked. */
  async #ask(what: string, pauseMs: number): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#log.add({ from: 'page', text: `${what}, without the client.`, tone: 'chaos' });
    for (const id of ['spend', 'knock']) enable(need(id), false);
    let last: Reading | null = null;
    const off = this.#wire.heard.on((reading) => (last = reading));
    for (let n = 0; n < MOST; n++) {
      await this.#wire.fetch(new URL('token', BASE), { method: 'POST', headers: this.#desk.credential() }).catch(() => null);
      const told = last as Reading | null;
      const refused = told !== null && told.status >= 400;
      if (!told || told.code === 'blocked' || (refused && !pauseMs)) break;
      if (refused) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    off();
    for (const id of ['spend', 'knock']) enable(need(id), true);
    this.#busy = false;
  }
}

function row(name: string, rest = ''): Row {
  const value = make('dd');
  const gauge = rest ? null : make('span.fill');
  need('limits').append(make('div', make('dt', name), value, ...(gauge ? [make('dd.track', gauge)] : [])));
  return { value, gauge, share: 0, whole: 0, until: 0, rest: rest || 'not seen yet', told: '' };
}
