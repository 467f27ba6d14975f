// The document that the React tests render into. Import it before React.
import { Window } from 'happy-dom';

const window = new Window({ url: 'https://app.test/' });
Object.assign(globalThis, {
  window,
  document: window.document,
  navigator: window.navigator,
  HTMLElement: window.HTMLElement,
  IS_REACT_ACT_ENVIRONMENT: true,
});

/** What React complained about. */
export const complaints: string[] = [];
for (const level of ['error', 'warn'] as const) console[level] = (...parts: unknown[]) => void complaints.push(parts.join(' '));

export function container(): Element {
  const element = window.document.createElement('div');
  window.document.body.append(element);
  return element as unknown as Element;
}
