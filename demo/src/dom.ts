// Finds and creates elements.

/** Returns the element with this id. Throws when the page has none. */
export function need<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found as unknown as T;
}

/** Creates an element. Classes may follow the tag: `span.tail`. */
export function make<K extends keyof HTMLElementTagNameMap>(name: K | `${K}.${string}`, ...inside: (Node | string)[]): HTMLElementTagNameMap[K] {
  const [tag = 'div', ...classes] = name.split('.');
  const made = document.createElement(tag) as HTMLElementTagNameMap[K];
  if (classes.length) made.className = classes.join(' ');
  made.append(...inside);
  return made;
}

/** Creates a button that never submits a form. */
export function button(label: string, className: string, run: () => void): HTMLButtonElement {
  const made = make('button', label);
  made.type = 'button';
  made.className = className;
  made.addEventListener('click', run);
  return made;
}

/** Enables or disables a button by `aria-disabled`, which, unlike `disabled`, keeps the focus on the button. */
export function enable(control: HTMLElement, does: boolean): void {
  control.setAttribute('aria-disabled', `${!does}`);
}

const swallow = (event: Event): void => {
  if (!(event.target instanceof Element && event.target.closest('[aria-disabled="true"]'))) return;
  event.preventDefault();
  event.stopPropagation();
};
// Captured before all other listeners. Enter in a form clicks its button, so forms are covered too.
addEventListener('click', swallow, true);

/** Creates an SVG element with attributes. */
export function draw(tag: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, `${value}`);
  made.textContent = text;
  return made;
}

/** Keeps a list scrolled to its end, unless the user scrolled up. Call the returned function after each addition. */
export function follow(list: HTMLElement): () => void {
  let follows = true;
  const go = (): void => {
    if (follows) list.scrollTop = list.scrollHeight;
  };
  // A hidden list has no height and loses its scroll position.
  list.addEventListener('scroll', () => {
    if (list.clientHeight) follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  });
  new ResizeObserver(go).observe(list);
  return go;
}

/** Sets the text of an element only when it differs, so that nothing is announced or laid out twice. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Adds radio buttons to `fieldset`. */
export function choice<T extends string>(
  fieldset: HTMLElement,
  options: [value: T, label: Node | string, title?: string][],
  chosen: T,
  pick: (value: T) => void,
): void {
  for (const [value, label, title = ''] of options) {
    const input = make('input');
    Object.assign(input, { type: 'radio', name: fieldset.id, value, checked: value === chosen });
    input.addEventListener('change', () => pick(value));
    const whole = make('label', input, typeof label === 'string' ? make('span', label) : label);
    whole.title = title;
    fieldset.append(whole);
  }
}
