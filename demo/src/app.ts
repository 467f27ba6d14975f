// Starts the page: asks the broker about itself and assembles the parts.
import { type About, readAbout } from './about.js';
import { chaosBar } from './chaos.js';
import { showCode } from './code.js';
import { Desk, type Lab } from './desk.js';
import { keepDiary } from './diary.js';
import { choice, need } from './dom.js';
import { Falls } from './falls.js';
import { Guards } from './guards.js';
import { watchHealth } from './health.js';
import { LabClock } from './lab-clock.js';
import { LabPage } from './lab-page.js';
import { Lives } from './lives.js';
import { LocalModel } from './local-model.js';
import { EventLog } from './log.js';
import { Outcome } from './outcome.js';
import { SecretCard } from './secret-card.js';
import { Talk } from './talk.js';
import { askedFaults, views } from './views.js';
import { Wire } from './wire.js';

function signIn({ people }: About, desk: Desk, log: EventLog): void {
  if (!people.length) return;
  const pick = (name: string): void => {
    const person = people.find((one) => one.name === name) ?? null;
    desk.signIn(person);
    log.add({ from: 'page', text: person ? `signed in as ${person.name}, ${person.role}` : 'signed out' });
    void desk.tokens.requestToken().catch(() => {});
  };
  choice(need('people'), [['', 'Nobody'], ...people.map(({ name, role }): [string, string, string] => [name, name, role])], '', pick);
  need('people').hidden = false;
}

function start(about: About): void {
  const lab: Lab = { clock: new LabClock(), page: new LabPage(), wire: new Wire() };
  lab.wire.refreshEveryMs = about.refresh_interval_seconds * 1000;
  const desk = new Desk(lab, about.call_persona);
  const log = new EventLog();
  keepDiary(desk, lab.wire, log);
  const falls = new Falls(lab.wire);
  const lives = new Lives(desk);
  const outcome = new Outcome(desk, lab.wire, log);
  const model = about.simulated ? new LocalModel() : null;
  new SecretCard(desk);
  chaosBar({ desk, lab, log, lives, outcome, model });
  if (about.mode === 'dev') new Guards(desk, lab.wire, log, outcome);
  new Talk({ desk, log, falls, outcome, model });
  signIn(about, desk, log);
  need('health').title = `Version ${about.version}`;
  watchHealth(about.simulated ? 'simulated OpenAI' : 'live OpenAI');
  const off = desk.told.on(({ type }) => {
    if (type !== 'tokenRefreshed') return;
    off();
    for (const name of askedFaults()) need('chaos').querySelector<HTMLButtonElement>(`[name="${CSS.escape(name)}"]`)?.click();
  });
  // A simulated key costs nothing. A real one is minted on request only.
  if (about.simulated) void desk.tokens.requestToken().catch(() => {});
}

views();
showCode();
readAbout().then(start, (error: unknown) => {
  const notice = need('notice');
  notice.textContent = `The broker does not answer: ${Object(error).message}`;
  notice.hidden = false;
}).finally(() => document.body.classList.remove('waiting'));
