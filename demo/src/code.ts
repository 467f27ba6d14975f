// The view of the code: what this page does, in three ways.
import agents from 'sample:agents.ts';
import react from 'sample:react.tsx';
import vanilla from 'sample:vanilla.ts';
import { button, make, need, write } from './dom.js';

const SAMPLES = [
  [
    'In any page',
    'The microphone first, then the key, then the call. The manager keeps the key fresh; the call asks for it whenever it connects.',
    vanilla,
  ],
  [
    'In React',
    'One manager for the page, created outside of components. The status is the call’s: a key that expires ends no call.',
    react,
  ],
  [
    'With agents-js',
    'Pass the function instead of a string, and every connect gets a valid key.',
    agents,
  ],
] as const;

// Comments, strings and keywords are coloured.
const PARTS = /(\/\/[^\n]*)|('[^'\n]*'|`[^`]*`)|\b(import|from|const|await|async|export|function|return|new)\b/g;
const KINDS = ['comment', 'string', 'word'] as const;

function coloured(text: string): (Node | string)[] {
  const parts: (Node | string)[] = [];
  let at = 0;
  for (const match of text.matchAll(PARTS)) {
    const kind = KINDS[match.slice(1).findIndex(Boolean)] ?? 'word';
    parts.push(text.slice(at, match.index), make(`span.${kind}`, match[0]));
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

/** Fills the view. */
export function showCode(): void {
  for (const [title, why, text] of SAMPLES) {
    const copy = button('Copy', 'button quiet', () => {
      const say = (words: string): void => {
        write(copy, words);
        setTimeout(() => write(copy, 'Copy'), 2000);
      };
      // Without permission for the clipboard, the text is selected for a copy by hand.
      const select = (): void => (getSelection()?.selectAllChildren(lines), say('Press Ctrl+C'));
      void (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(() => say('Copied'), select);
    });
    copy.setAttribute('aria-label', `Copy: ${title}`);
    const lines = make('pre', make('code', ...coloured(text)));
    lines.tabIndex = 0;
    lines.setAttribute('aria-label', title);
    const head = make('header', make('h2', title), copy);
    need('code').append(make('section.card', head, make('p.hint', why), lines));
  }
}
