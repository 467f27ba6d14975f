// Server-sent events, read from the answer of a fetch: EventSource cannot show a ticket.

/** What is done with the parts of a stream. */
export interface Hearer {
  /** The data of an event, parsed. */
  heard(data: unknown): void;
  /** The wait before the next connection that the server wishes, in milliseconds. */
  retry(ms: number): void;
  /** Something arrived, if only a comment. */
  alive(): void;
}

/** Reads `response` to its end. Rejects when it is no stream of events, holds no JSON, or breaks off. */
export async function readEvents({ ok, status, headers, body }: Response, { heard, retry, alive }: Hearer): Promise<void> {
  const kind = `${headers.get('content-type')}`;
  if (!ok || !body || !kind.startsWith('text/event-stream')) throw new Error(`no stream of events but ${status} ${kind}`);
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const events = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
    rest = `${events.pop()}`;
    for (const event of events) {
      const [, ms] = /^retry: ?(\d+)/m.exec(event) ?? [];
      if (ms) retry(Number(ms));
      const lines = [...event.matchAll(/^data: ?(.*)$/gm)].map(([, line]) => line);
      if (lines.length) heard(JSON.parse(lines.join('\n')));
    }
  }
}
