// Owns the card of the client secret: the ring that counts down, the mark where a refresh is due, and what is known.
import type { Desk, DeskEvent } from './desk.js';
import { enable, make, need, write } from './dom.js';
import type { LabClock } from './lab-clock.js';
import type { Phase, TokenSnapshot } from './sdk.js';
import { countdown, REASONS, wait } from './words.js';

/** What each phase is called, and its tone. */
const PHASES: Record<Phase, [string, string]> = {
  idle: ['Idle', 'rest'],
  requesting: ['Asking', 'wait'],
  ready: ['Valid', 'good'],
  refreshing: ['Refreshing', 'wait'],
  backoff: ['Waiting to retry', 'warn'],
  paused: ['Paused', 'rest'],
  expired: ['Expired', 'bad'],
  failed: ['Failed', 'bad'],
  destroyed: ['Ended', 'rest'],
};

const FACTS = ['Secret', 'Model', 'Voice', 'Reason', 'Next'] as const;

/** Shows what the manager holds. */
export class SecretCard {
  readonly #desk: Desk;
  readonly #clock: LabClock;
  readonly #facts = new Map<string, HTMLElement>();
  #reason = '';

  constructor(desk: Desk, clock: LabClock) {
    this.#desk = desk;
    this.#clock = clock;
    for (const name of FACTS) {
      const value = make('dd', '–');
      this.#facts.set(name, value);
      need('facts').append(make('div', make('dt', name), value));
    }
    need('secret-refresh').addEventListener('click', () => void desk.tokens.refreshToken().catch(() => {}));
    need('secret-drop').addEventListener('click', () => desk.tokens.invalidate('dropped by hand'));
    desk.changed.on((snapshot) => this.#show(snapshot));
    desk.told.on((event) => this.#remember(event));
    setInterval(() => this.#tick(), 250);
    this.#show(desk.tokens.getSnapshot());
  }

  #remember(event: DeskEvent): void {
    if (event.type === 'tokenRefreshed') this.#reason = REASONS[event.reason];
    this.#show(this.#desk.tokens.getSnapshot());
  }

  #show({ phase, token, refreshAt, expiresAt }: TokenSnapshot): void {
    const [label, tone] = PHASES[phase];
    const pill = need('phase');
    write(pill, label);
    pill.dataset['tone'] = tone;
    const { model, voice } = token?.session ?? {};
    this.#fact('Secret', token?.masked ?? 'none');
    this.#fact('Model', model ?? '–');
    this.#fact('Voice', voice ?? '–');
    this.#fact('Reason', token ? this.#reason : '–');
    write(need('secret-refresh'), token ? 'Refresh now' : 'Get one');
    enable(need('secret-drop'), token !== null);
    const lead = token && refreshAt && expiresAt ? (expiresAt - refreshAt) / token.lifetimeMs : 0;
    need('dial-zone').setAttribute('stroke-dasharray', `${lead * 100} 100`);
    need('dial-mark').setAttribute('transform', `rotate(${lead * 360} 100 100)`);
    need('dial-mark').toggleAttribute('hidden', !lead);
    this.#tick();
  }

  #tick(): void {
    const { tokens } = this.#desk;
    const { token, phase, refreshAt, nextAttemptAt, error, attempt } = tokens.getSnapshot();
    const left = tokens.getTimeUntilExpiration();
    const share = token ? left / token.lifetimeMs : 0;
    need('dial-left').setAttribute('stroke-dasharray', `${share * 100} 100`);
    write(need('dial-time'), token ? countdown(left) : '–');
    need('dial-time').classList.toggle('none', !token);
    write(need('dial-note'), token ? `of ${countdown(token.lifetimeMs)}` : phase === 'idle' ? 'nothing yet' : 'no secret');
    const trouble = error && [error.brokerCode ?? error.code, error.retryAfterMs ? `wait ${wait(error.retryAfterMs)}` : token ? '' : error.hint];
    write(need('trouble'), trouble ? trouble.filter(Boolean).join(': ') : '');
    const until = (at: number): string => wait(at - this.#clock.wall());
    if (nextAttemptAt) this.#fact('Next', `attempt ${attempt + 1} in ${until(nextAttemptAt)}`);
    else if (phase === 'requesting' || phase === 'refreshing') this.#fact('Next', `attempt ${attempt} under way`);
    else if (refreshAt) this.#fact('Next', `refresh in ${until(refreshAt)}`);
    else this.#fact('Next', phase === 'paused' ? 'when somebody looks' : 'when it is needed');
  }

  #fact(name: (typeof FACTS)[number], value: string): void {
    const place = this.#facts.get(name);
    if (place) write(place, value);
  }
}
