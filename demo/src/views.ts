// Owns what the address remembers: the view, the theme, faults to begin with. Nothing is stored elsewhere.
import { choice, need, write } from './dom.js';

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
/** A phone shows one part of the board at a time, each with a tab; elsewhere all parts are behind one tab. */
const VIEWS = ['secret', 'talk', 'events', 'code'] as const;
type View = (typeof VIEWS)[number];

const kept = new URLSearchParams(location.hash.slice(1));
/** As the style sheet has it. */
const phone = matchMedia('(max-width: 40rem), (max-height: 30rem) and (pointer: coarse)');
const tabs = document.querySelectorAll<HTMLButtonElement>('[role=tab]');

let part: Exclude<View, 'code'> = 'secret';

function keep(name: string, value: string, normal: string): void {
  if (value === normal) kept.delete(name);
  else kept.set(name, value);
  history.replaceState(null, '', `${location.pathname}${location.search}${kept.size ? `#${kept}` : ''}`);
}

function dress(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  keep('theme', theme, 'auto');
  dispatchEvent(new Event('theme'));
}

function show(view: View): void {
  if (view !== 'code') part = view;
  for (const tab of tabs) {
    const selected = tab.id === `tab-${view}` || (tab.id === 'tab-try' && view !== 'code');
    tab.setAttribute('aria-selected', `${selected}`);
    tab.tabIndex = selected ? 0 : -1;
  }
  need('try').dataset['part'] = part;
  need('try').hidden = view === 'code';
  need('code').hidden = view !== 'code';
  name();
  keep('view', view, 'secret');
}

/** The board is named by the tab that leads to it. */
function name(): void {
  need('try').setAttribute('aria-labelledby', phone.matches ? `tab-${part}` : 'tab-try');
}

function walk(event: KeyboardEvent): void {
  const seen = [...tabs].filter((tab) => tab.checkVisibility());
  const at = seen.indexOf(event.target as HTMLButtonElement);
  const to = { ArrowLeft: at - 1, ArrowRight: (at + 1) % seen.length, Home: 0, End: -1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  seen.at(to)?.click();
  seen.at(to)?.focus();
}

/** Below the name of a tab, what it leads to says of itself. */
function echo(small: HTMLElement): void {
  const source = need(small.dataset['of'] ?? '');
  const copy = (): void => write(small, source.textContent ?? '');
  new MutationObserver(copy).observe(source, { childList: true, characterData: true, subtree: true });
}

/** The faults that the address asks for, like `#chaos=ttl,429`, so that a report can be repeated. */
export function askedFaults(): string[] {
  return kept.get('chaos')?.split(',') ?? [];
}

/** Puts tabs and theme to work. */
export function views(): void {
  const theme = THEMES.find((name) => name === kept.get('theme')) ?? 'auto';
  choice(need('theme'), [['auto', 'Auto'], ['light', 'Light'], ['dark', 'Dark']], theme, dress);
  dress(theme);
  for (const tab of tabs) {
    tab.addEventListener('click', () => {
      show(VIEWS.find((view) => tab.id === `tab-${view}`) ?? part);
      if (phone.matches) scrollTo(0, 0);
    });
    tab.addEventListener('keydown', walk);
  }
  document.querySelectorAll<HTMLElement>('[data-of]').forEach(echo);
  phone.addEventListener('change', name);
  show(VIEWS.find((view) => view === kept.get('view')) ?? 'secret');
}
