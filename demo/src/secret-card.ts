// Shows the key: a ring that counts down, a mark where a refresh is due, and what is known about it.
import type { Desk, DeskEvent } from './desk.js';
import { enable, make, need, write } from './dom.js';
import type { Phase, TokenError, TokenSnapshot } from './sdk.js';
import { countdown, REASONS, wait } from './words.js';

/** The label of each phase, and its tone. */
const PHASES: Record<Phase, [string, string]> = {
  idle: ['Idle', 'rest'],
  requesting: ['Requesting', 'wait'],
  ready: ['Valid', 'good'],
  refreshing: ['Refreshing', 'wait'],
  backoff: ['Waiting to retry', 'warn'],
  paused: ['Paused', 'rest'],
  expired: ['Expired', 'bad'],
  failed: ['Failed', 'bad'],
  destroyed: ['Ended', 'rest'],
};

const FACTS = ['Key', 'Model', 'Voice', 'Reason', 'Next'] as const;

/** The card of the key. */
export class SecretCard {
  readonly #desk: Desk;
  readonly #facts = new Map<string, HTMLElement>();
  #reason = '';
  /** True where the key is a ticket, which is used up by the one call that takes it. */
  #isTicket = false;
  /** How long before its end the key is refreshed; 0 when no refresh is planned. */
  #leadMs = 0;

  constructor(desk: Desk) {
    this.#desk = desk;
    for (const name of FACTS) {
      const value = make('dd', '–');
      this.#facts.set(name, value);
      need('facts').append(make('div', make('dt', name), value));
    }
    need('secret-refresh').addEventListener('click', () => void desk.tokens.refreshToken().catch(() => {}));
    need('secret-drop').addEventListener('click', () => desk.tokens.invalidate('discarded by hand'));
    desk.changed.on((snapshot) => this.#show(snapshot));
    desk.told.on((event) => this.#remember(event));
    setInterval(() => this.#tick(), 250);
    this.#show(desk.tokens.getSnapshot());
  }

  #remember(event: DeskEvent): void {
    if (event.type === 'tokenRefreshed') {
      this.#reason = REASONS[event.reason];
      this.#isTicket = event.token.connect?.mode === 'call';
    }
    this.#show(this.#desk.tokens.getSnapshot());
  }

  #show({ phase, token, refreshAt, expiresAt }: TokenSnapshot): void {
    const [label, tone] = PHASES[phase];
    const pill = need('phase');
    write(pill, label);
    pill.dataset['tone'] = tone;
    const { model, voice } = token?.session ?? {};
    this.#fact('Key', token?.masked ?? 'none');
    this.#fact('Model', model ?? '–');
    this.#fact('Voice', voice ?? '–');
    this.#fact('Reason', token ? this.#reason : '–');
    write(need('secret-refresh'), token ? 'Refresh' : 'Get a key');
    need('secret-refresh').classList.toggle('primary', !token);
    enable(need('secret-drop'), token !== null);
    this.#leadMs = token && refreshAt && expiresAt ? expiresAt - refreshAt : 0;
    const lead = this.#leadMs / (token?.lifetimeMs ?? 1);
    need('dial-zone').setAttribute('stroke-dasharray', `${lead * 100} 100`);
    need('dial-mark').setAttribute('transform', `rotate(${lead * 360} 100 100)`);
    need('dial-mark').toggleAttribute('hidden', !lead);
    this.#tick();
  }

  #tick(): void {
    const { tokens } = this.#desk;
    const { token, phase, nextAttemptAt, error, attempt } = tokens.getSnapshot();
    const left = tokens.getTimeUntilExpiration();
    const share = token ? left / token.lifetimeMs : 0;
    need('dial-left').setAttribute('stroke-dasharray', `${share * 100} 100`);
    write(need('dial-time'), token ? countdown(left) : '–');
    need('dial-time').classList.toggle('none', !token);
    write(need('dial-note'), token ? `of ${countdown(token.lifetimeMs)}` : this.#isTicket ? 'one ticket per call' : phase === 'idle' ? 'no key yet' : 'no key');
    write(need('trouble'), error ? trouble(error) : '');
    if (nextAttemptAt) this.#fact('Next', `attempt ${attempt + 1} in ${wait(nextAttemptAt - this.#desk.wall())}`);
    else if (phase === 'requesting' || phase === 'refreshing') this.#fact('Next', `attempt ${attempt} under way`);
    else if (this.#leadMs) this.#fact('Next', `refresh in ${wait(left - this.#leadMs)}`);
    else this.#fact('Next', phase === 'paused' ? 'when the page is seen' : 'on demand');
  }

  #fact(name: (typeof FACTS)[number], value: string): void {
    const place = this.#facts.get(name);
    if (place) write(place, value);
  }
}

/** Says what went wrong, what to do, and the code to look up. */
function trouble({ brokerCode, code, hint, retryAfterMs }: TokenError): string {
  const next = retryAfterMs ? `Refused; try again in ${wait(retryAfterMs)}.` : hint;
  return `${next} (${brokerCode ?? code})`;
}
