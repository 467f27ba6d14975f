// Keeps the view, the theme and the faults to start with in the address. Nothing is stored elsewhere.
import { choice, draw, make, need, write } from './dom.js';

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
/** The lines of each theme's icon, and the area to fill: a half-filled circle, a sun, a moon. */
const ICONS: Record<Theme, [lines: string, area?: string]> = {
  auto: ['M8 2a6 6 0 1 0 .01 0z', 'M8 2a6 6 0 0 0 0 12z'],
  light: ['M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1'],
  dark: ['M13.5 10A6 6 0 0 1 6 2.5a6 6 0 1 0 7.5 7.5z'],
};
/** A phone shows one part of the board at a time, each with a tab. A larger screen shows all parts behind one tab. */
const VIEWS = ['secret', 'talk', 'break', 'events', 'code'] as const;
type View = (typeof VIEWS)[number];

const kept = new URLSearchParams(location.hash.slice(1));
/** The same condition as in the style sheet. */
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

/** Labels the board with the tab that leads to it. */
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

function icon(theme: Theme): SVGElement {
  const svg = draw('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' });
  svg.append(...ICONS[theme].map((d = '') => draw('path', { d })));
  return svg;
}

/** Copies the state of a card below the name of its tab. */
function echo(small: HTMLElement): void {
  const source = need(small.dataset['of'] ?? '');
  const copy = (): void => write(small, source.textContent ?? '');
  new MutationObserver(copy).observe(source, { childList: true, characterData: true, subtree: true });
}

/** Returns the faults named in the address, like `#chaos=ttl,429`, so that a bug report can be reproduced. */
export function askedFaults(): string[] {
  return kept.get('chaos')?.split(',') ?? [];
}

/** Activates the tabs and the choice of theme. */
export function views(): void {
  const theme = THEMES.find((name) => name === kept.get('theme')) ?? 'auto';
  const names = { auto: 'Auto', light: 'Light', dark: 'Dark' };
  choice(need('theme'), THEMES.map((value) => [value, make('span.icon', icon(value), make('span.unseen', names[value])), `Theme: ${value}`]), theme, dress);
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
