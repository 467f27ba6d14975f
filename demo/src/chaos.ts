// Adds a button for each fault. Each fault is real for the client: it is injected at a seam of the client, not acted out.
import type { Desk, Lab } from './desk.js';
import { button, enable, need } from './dom.js';
import type { Lives } from './lives.js';
import type { LocalModel } from './local-model.js';
import type { EventLog } from './log.js';
import type { Outcome } from './outcome.js';
import { wait } from './words.js';
import type { Fault } from './wire.js';

interface Chaos {
  /** The name in the address: `#chaos=ttl,429`. */
  name: string;
  label: string;
  /** What happens, in a sentence. */
  broken: string;
  /** What happens when the button is pressed again. Without this, the fault ends by itself. */
  mended?: string;
  start(): void;
  end?(): void;
  /** True for a fault that replaces an answer: impossible while offline. */
  answers?: true;
  /** True for a fault that leads to a refresh, which the broker refuses within its minimum interval. */
  refreshes?: true;
}

const HOUR = 3_600_000;
const NAP = 600_000;
/** How long a simulated sleep really takes. */
const LID_MS = 2500;
const FAILED: Fault = { status: 500, code: 'internal' };

function faults({ clock, page, wire }: Lab, desk: Desk, model: LocalModel | null): Chaos[] {
  const refresh = (): void => void desk.tokens.refreshToken().catch(() => {});
  const answer = (...next: Fault[]): void => {
    wire.faults.splice(0, Infinity, ...next);
    refresh();
  };
  const offline = (is: boolean): void => {
    wire.offline = is;
    page.offline = is;
  };
  const set = (ms: number): void => {
    clock.set(ms);
    page.wake();
  };
  return [
    {
      name: 'offline',
      label: 'Offline',
      broken: 'The network is gone, and a refresh is due.',
      mended: 'The network is back.',
      start: () => (offline(true), refresh()),
      end: () => offline(false),
    },
    {
      name: '429',
      label: 'Too many requests',
      answers: true,
      refreshes: true,
      broken: 'The next answer is 429 with Retry-After: 3.',
      start: () => answer({ status: 429, code: 'rate_limited', retryAfterSeconds: 3 }),
    },
    {
      name: '500',
      label: 'Server errors',
      answers: true,
      refreshes: true,
      broken: 'The next two answers are 500.',
      start: () => answer(FAILED, FAILED),
    },
    {
      name: '401',
      label: 'Login expired',
      answers: true,
      broken: 'The next answer is 401.',
      start: () => answer({ status: 401, code: 'unauthorized' }),
    },
    {
      name: 'clock',
      label: 'Fast clock',
      refreshes: true,
      broken: 'The clock of this device jumps an hour ahead.',
      mended: 'The clock is set back.',
      start: () => set(HOUR),
      end: () => set(-HOUR),
    },
    {
      name: 'ttl',
      label: '20 s keys',
      refreshes: true,
      broken: 'From now on keys live for 20 s.',
      mended: 'Real lifetimes again.',
      start: () => {
        wire.lifetime = 20;
        // The client prefers the key that lives longer, so the current one has to go first.
        desk.tokens.invalidate('keys live for 20 s from now on');
        refresh();
      },
      end: () => void (wire.lifetime = null),
    },
    {
      name: 'sleep',
      label: 'Sleep',
      refreshes: true,
      broken: 'The laptop sleeps for ten minutes.',
      start: () => {
        clock.sleep();
        setTimeout(() => {
          clock.wake(NAP);
          page.wake();
        }, LID_MS);
      },
    },
    ...(model ? [{ name: 'hang', label: 'Call drops', broken: 'The other side drops the call.', start: () => model.hangUp() }] : []),
  ];
}

export interface ChaosParts {
  desk: Desk;
  lab: Lab;
  log: EventLog;
  lives: Lives;
  outcome: Outcome;
  /** The local stand-in for the model, when there is one: it can hang up. */
  model: LocalModel | null;
}

/** Adds the buttons. */
export function chaosBar({ desk, lab, log, lives, outcome, model }: ChaosParts): void {
  const controls: [HTMLElement, Chaos][] = [];
  let isWaiting = false;
  const update = (): void => {
    for (const [control, { answers, refreshes }] of controls) {
      if (answers || refreshes) enable(control, !(answers && lab.wire.offline) && !(refreshes && isWaiting));
    }
  };
  /** Waits until the broker accepts a refresh, so that its own limit does not pass for a fault of the client. */
  const untilRefresh = async (): Promise<void> => {
    const ms = lab.wire.untilRefresh();
    if (!ms) return;
    isWaiting = true;
    update();
    outcome.add(`starts in ${wait(ms)}: the broker allows a refresh every ${wait(lab.wire.refreshEveryMs)}`, 'rest');
    await new Promise((resolve) => setTimeout(resolve, ms));
    isWaiting = false;
    update();
  };
  for (const chaos of faults(lab, desk, model)) {
    let on = false;
    const press = async (): Promise<void> => {
      const mends = on && chaos.mended;
      const what = mends || chaos.broken;
      outcome.begin(what);
      if (chaos.refreshes && !mends) await untilRefresh();
      log.add({ from: 'page', text: what, tone: 'chaos' });
      lives.broke(mends ? `${chaos.label}: off` : chaos.label);
      if (chaos.end) {
        on = !on;
        control.setAttribute('aria-pressed', `${on}`);
      }
      if (mends) chaos.end?.();
      else chaos.start();
      update();
    };
    const control = button(chaos.label, 'button fault', () => void press());
    control.title = chaos.broken;
    control.name = chaos.name;
    if (chaos.end) control.setAttribute('aria-pressed', 'false');
    if (chaos.name === 'hang') control.id = 'hang-up';
    controls.push([control, chaos]);
    need('chaos').append(control);
  }
}
