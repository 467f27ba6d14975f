// Owns finding and making elements.

/** The element with this id; the page is wrong without it. */
export function need<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found as unknown as T;
}

/** A new element. A class of its own may follow the tag: `span.tail`. */
export function make<K extends keyof HTMLElementTagNameMap>(name: K | `${K}.${string}`, ...inside: (Node | string)[]): HTMLElementTagNameMap[K] {
  const [tag = 'div', ...classes] = name.split('.');
  const made = document.createElement(tag) as HTMLElementTagNameMap[K];
  if (classes.length) made.className = classes.join(' ');
  made.append(...inside);
  return made;
}

/** A button that never submits. */
export function button(label: string, className: string, run: () => void): HTMLButtonElement {
  const made = make('button', label);
  made.type = 'button';
  made.className = className;
  made.addEventListener('click', run);
  return made;
}

/**
 * Says whether a button does anything now. One that does not keeps the focus, which a disabled one would lose, and its presses
 * lead nowhere.
 */
export function enable(control: HTMLElement, does: boolean): void {
  control.setAttribute('aria-disabled', `${!does}`);
}

const swallow = (event: Event): void => {
  if (!(event.target instanceof Element && event.target.closest('[aria-disabled="true"]'))) return;
  event.preventDefault();
  event.stopPropagation();
};
// First of all who listen. Enter in a form clicks its button, so this holds for forms, too.
addEventListener('click', swallow, true);

/** A new SVG element with attributes. */
export function draw(tag: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, `${value}`);
  made.textContent = text;
  return made;
}

/** Keeps a list that scrolls at its end, unless somebody scrolled up; call what comes back when something was added. */
export function follow(list: HTMLElement): () => void {
  let follows = true;
  const go = (): void => {
    if (follows) list.scrollTop = list.scrollHeight;
  };
  // Hidden lists have no height, and forget where they were.
  list.addEventListener('scroll', () => {
    if (list.clientHeight) follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  });
  new ResizeObserver(go).observe(list);
  return go;
}

/** Sets text only when it differs, so that nothing is announced or laid out twice. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A choice of one among a few, as radio buttons in `fieldset`. */
export function choice<T extends string>(
  fieldset: HTMLElement,
  options: [value: T, label: string, title?: string][],
  chosen: T,
  pick: (value: T) => void,
): void {
  for (const [value, label, title = ''] of options) {
    const input = make('input');
    Object.assign(input, { type: 'radio', name: fieldset.id, value, checked: value === chosen });
    input.addEventListener('change', () => pick(value));
    const whole = make('label', input, make('span', label));
    whole.title = title;
    fieldset.append(whole);
  }
}
