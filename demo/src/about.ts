// Owns what the broker says about itself and about who may be signed in.

/** Somebody of the dev issuer, with a credential ready to send. */
export interface Person {
  name: string;
  role: string;
  bearer: string;
}

export interface About {
  mode: 'dev' | 'serve';
  /** True when a simulated OpenAI mints: its secrets open no call there. */
  simulated: boolean;
  version: string;
  people: Person[];
}

/** Where the broker is, with its base path: one above this script's folder. */
export const BASE: URL = new URL('..', import.meta.url);

/** Asks. What is left out of the answer is taken to be what costs and shows the least. */
export async function readAbout(): Promise<About> {
  const cautious: About = { mode: 'serve', simulated: false, version: '', people: [] };
  const response = await fetch(new URL('demo/about', BASE), { cache: 'no-store' });
  if (!response.ok) throw new Error(`/demo/about answered ${response.status}.`);
  return { ...cautious, ...((await response.json()) as Partial<About>) };
}
