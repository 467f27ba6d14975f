// Owns what the address remembers: the view, the theme, faults to begin with. Nothing is stored elsewhere.
import { choice, need } from './dom.js';

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
type View = 'try' | 'code';

const kept = new URLSearchParams(location.hash.slice(1));

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
  for (const name of ['try', 'code']) {
    const tab = need(`tab-${name}`);
    tab.setAttribute('aria-selected', `${name === view}`);
    tab.tabIndex = name === view ? 0 : -1;
    need(name).hidden = name !== view;
  }
  keep('view', view, 'try');
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
  for (const view of ['try', 'code'] as const) {
    const tab = need(`tab-${view}`);
    tab.addEventListener('click', () => show(view));
    tab.addEventListener('keydown', ({ key }) => {
      if (!/^Arrow(Left|Right)$/.test(key)) return;
      const other = view === 'try' ? 'code' : 'try';
      show(other);
      need(`tab-${other}`).focus();
    });
  }
  show(kept.get('view') === 'code' ? 'code' : 'try');
}
