// Shows the health of the broker in the header.
import { BASE } from './about.js';
import { need, write } from './dom.js';

const EVERY_MS = 15_000;

interface Health {
  status: string;
}

/** Asks every 15 s while the page is visible. `upstream` names where the keys come from. */
export function watchHealth(upstream: string): void {
  const look = async (): Promise<void> => {
    if (document.visibilityState === 'hidden') return;
    const response = await fetch(new URL('health', BASE), { cache: 'no-store' }).catch(() => null);
    const health = (await response?.json().catch(() => null)) as Health | null;
    const tone = health?.status === 'healthy' ? 'good' : health?.status === 'degraded' ? 'warn' : 'bad';
    need('lamp').dataset['tone'] = tone;
    write(need('health'), `Broker ${health?.status ?? 'unreachable'} · ${upstream}`);
  };
  void look();
  setInterval(() => void look(), EVERY_MS);
  document.addEventListener('visibilitychange', () => void look());
}
