// Asks the broker for its mode, its version and the users to act as.

/** A user of the dev issuer, with a credential ready to send. */
export interface Person {
  name: string;
  role: string;
  bearer: string;
}

export interface About {
  mode: 'dev' | 'serve';
  /** True when a simulated OpenAI mints: its keys open no call at OpenAI. */
  simulated: boolean;
  version: string;
  /** The broker's minimum interval between two refreshes of one session. */
  refresh_interval_seconds: number;
  people: Person[];
  /** The persona of this page's calls through the broker. Null outside `dev`. */
  call_persona: string | null;
}

/** The broker's URL with its base path: the folder above this script. */
export const BASE: URL = new URL('..', import.meta.url);

/** Asks the broker. A missing field gets the value that costs and shows the least. */
export async function readAbout(): Promise<About> {
  const cautious: About = { mode: 'serve', simulated: false, version: '', refresh_interval_seconds: 0, people: [], call_persona: null };
  const response = await fetch(new URL('demo/about', BASE), { cache: 'no-store' });
  if (!response.ok) throw new Error(`/demo/about answered ${response.status}.`);
  return { ...cautious, ...((await response.json()) as Partial<About>) };
}
