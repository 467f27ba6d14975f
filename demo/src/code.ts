// Owns the view of the code: the lines that do what this page does, three ways.
import agents from 'sample:agents.ts';
import react from 'sample:react.tsx';
import vanilla from 'sample:vanilla.ts';
import { button, make, need, write } from './dom.js';

const SAMPLES = [
  [
    'In any page',
    'The microphone first, then the secret, then the call. The manager keeps the secret fresh; the call asks for it whenever it connects.',
    vanilla,
  ],
  [
    'In React',
    'One manager for the page, made outside of components. The status comes from the call alone: a secret that expires ends nothing.',
    react,
  ],
  [
    'With agents-js',
    'Give the SDK the function instead of a string, and every connect gets a secret that is still good.',
    agents,
  ],
] as const;

// Comments, strings, words of the language; everything else is left as it is.
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
      void navigator.clipboard.writeText(text).then(() => {
        write(copy, 'Copied');
        setTimeout(() => write(copy, 'Copy'), 2000);
      });
    });
    copy.setAttribute('aria-label', `Copy: ${title}`);
    const lines = make('pre', make('code', ...coloured(text)));
    lines.tabIndex = 0;
    lines.setAttribute('aria-label', title);
    const head = make('header', make('h2', title), copy);
    need('code').append(make('section.card', head, make('p.hint', why), lines));
  }
}
