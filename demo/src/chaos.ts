// Owns the chaos bar: each button breaks one thing for real, at a seam of the client, and mends what lasts.
import type { Desk, Lab } from './desk.js';
import { button, enable, need } from './dom.js';
import type { Lives } from './lives.js';
import type { LocalModel } from './local-model.js';
import type { EventLog } from './log.js';
import type { Outcome } from './outcome.js';
import type { Fault } from './wire.js';

/** One thing that can be broken. */
interface Chaos {
  label: string;
  /** What is broken, for the log. */
  broken: string;
  /** What is mended when it is pressed again; without it, it mends itself. */
  mended?: string;
  start(): void;
  end?(): void;
  /** It breaks an answer, and offline there is none. */
  answers?: true;
}

const HOUR = 3_600_000;
const NAP = 600_000;
/** How long the lid is really closed. */
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
      label: 'Offline',
      broken: 'The network is gone; a refresh is asked for.',
      mended: 'The network is back.',
      start: () => (offline(true), refresh()),
      end: () => offline(false),
    },
    {
      label: '429',
      answers: true,
      broken: 'The next answer is 429, Retry-After 3.',
      start: () => answer({ status: 429, code: 'rate_limited', retryAfterSeconds: 3 }),
    },
    { label: '500', answers: true, broken: 'The next two answers are 500.', start: () => answer(FAILED, FAILED) },
    { label: '401', answers: true, broken: 'The next answer is 401.', start: () => answer({ status: 401, code: 'unauthorized' }) },
    {
      label: 'Clock +1 h',
      broken: 'The clock of this device is set an hour ahead.',
      mended: 'The clock is set back.',
      start: () => set(HOUR),
      end: () => set(-HOUR),
    },
    {
      label: 'TTL 20 s',
      broken: 'From now on answers say 20 s.',
      mended: 'Answers say the truth again.',
      start: () => {
        wire.lifetime = 20;
        // A shorter life is taken only when the longer one is gone.
        desk.tokens.invalidate('the answers say 20 s from now on');
        refresh();
      },
      end: () => void (wire.lifetime = null),
    },
    {
      label: 'Sleep',
      broken: 'The lid is closed for ten minutes.',
      start: () => {
        clock.sleep();
        setTimeout(() => {
          clock.wake(NAP);
          page.wake();
        }, LID_MS);
      },
    },
    ...(model ? [{ label: 'Hang up', broken: 'The other side drops the call.', start: () => model.hangUp() }] : []),
  ];
}

export interface ChaosParts {
  desk: Desk;
  lab: Lab;
  log: EventLog;
  lives: Lives;
  outcome: Outcome;
  /** The other side, when it can be told to hang up. */
  model: LocalModel | null;
}

/** Puts the buttons in place. */
export function chaosBar({ desk, lab, log, lives, outcome, model }: ChaosParts): void {
  const answered: HTMLElement[] = [];
  for (const chaos of faults(lab, desk, model)) {
    let on = false;
    const press = (): void => {
      const mends = on && chaos.mended;
      const what = mends || chaos.broken;
      log.add({ from: 'page', text: what, tone: 'chaos' });
      lives.broke(mends ? `${chaos.label} off` : chaos.label);
      outcome.begin(what);
      if (chaos.end) {
        on = !on;
        control.setAttribute('aria-pressed', `${on}`);
      }
      if (mends) chaos.end?.();
      else chaos.start();
      for (const one of answered) enable(one, !lab.wire.offline);
    };
    const control = button(chaos.label, 'button fault', press);
    control.title = chaos.broken;
    if (chaos.end) control.setAttribute('aria-pressed', 'false');
    control.name = chaos.label.toLowerCase().split(' ')[0] ?? '';
    if (control.name === 'hang') control.id = 'hang-up';
    if (chaos.answers) answered.push(control);
    need('chaos').append(control);
  }
}
