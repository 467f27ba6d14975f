// Owns the lamp in the header: how the broker says it is.
import { BASE } from './about.js';
import { make, need } from './dom.js';
import { span } from './words.js';

const EVERY_MS = 15_000;

interface Health {
  status: string;
  metrics?: { activeSessions: number };
  services?: { openaiApi: { latency?: number } };
}

/** Asks now and then, while the page is seen. */
export function watchHealth(about: string): void {
  const look = async (): Promise<void> => {
    if (document.visibilityState === 'hidden') return;
    const response = await fetch(new URL('health', BASE), { cache: 'no-store' }).catch(() => null);
    const health = (await response?.json().catch(() => null)) as Health | null;
    const tone = health?.status === 'healthy' ? 'good' : health?.status === 'degraded' ? 'warn' : 'bad';
    const lamp = make('span.lamp');
    lamp.dataset['tone'] = tone;
    const facts = [`Broker ${health?.status ?? 'unreachable'}`, about];
    const latency = health?.services?.openaiApi.latency;
    if (latency) facts.push(`upstream ${span(latency)}`);
    need('health').replaceChildren(lamp, make('span', facts.filter(Boolean).join(' · ')));
  };
  void look();
  setInterval(() => void look(), EVERY_MS);
  document.addEventListener('visibilitychange', () => void look());
}
