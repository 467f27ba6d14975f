// Starts a real broker for tests: the executable with its simulated OpenAI, on a free port.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY = process.env['BROKER_BINARY'] ?? fileURLToPath(new URL('../../../target/debug/token-broker', import.meta.url));

export interface RealBroker {
  /** Its address, like `http://127.0.0.1:1234`. */
  url: string;
  /** Makes its upstream fail: `503`, `429:7`, `slow:2s`, `hang`. `ofCalls` is `calls`, `join`, `hangup` or `transcribe`. */
  fail(fault: string, times: number, ofCalls?: string): Promise<void>;
  /** Plays a turn in a call of its simulated OpenAI, like `say:Hello`. */
  play(call: string, turn: string): Promise<void>;
  stop(): Promise<void>;
  /** Returns credentials of Sam and Toni by the issuer of this run. */
  people(): Promise<[string, string]>;
}

/** Starts a broker with settings like `session.token_seconds=20`. */
export function startBroker(...set: string[]): Promise<RealBroker> {
  return start(set.flatMap((setting) => ['--set', setting]));
}

/** Starts a broker with a settings file that holds `text`. */
export async function startBrokerOf(text: string): Promise<RealBroker> {
  const room = mkdtempSync(join(tmpdir(), 'broker-'));
  try {
    const file = join(room, 'broker.toml');
    writeFileSync(file, text);
    return await start(['--config', file]);
  } finally {
    rmSync(room, { recursive: true });
  }
}

async function start(flags: string[]): Promise<RealBroker> {
  const env = { PATH: process.env['PATH'] ?? '' };
  const child: ChildProcess = spawn(BINARY, ['dev', '--listen', '127.0.0.1:0', ...flags], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  let output = '';
  const [url, simulator] = await new Promise<[string, string]>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const [listen] = /listens on (\S+)/.exec(output)?.slice(1) ?? [];
      const [upstream] = /simulated OpenAI at (\S+?)\/v1/.exec(output)?.slice(1) ?? [];
      if (listen && upstream) resolve([listen, upstream]);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', (cause) => reject(new Error(`No broker at ${BINARY}: cargo build, or set BROKER_BINARY.`, { cause })));
    child.once('exit', () => reject(new Error(`The broker did not start:\n${output}`)));
  });
  const control = async (method: string, path: string, body: object): Promise<void> => {
    const headers = { authorization: 'Bearer sk-simulated', 'content-type': 'application/json' };
    const answer = await fetch(`${simulator}/_simulator/${path}`, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
  };
  return {
    url,
    fail: (fault, times, ofCalls) => control('PUT', 'faults', { fault, times, of_calls: ofCalls }),
    play: (call, turn) => control('POST', `calls/${call}/play`, { turn }),
    async people() {
      for (;;) {
        const found = [...output.matchAll(/'Authorization: (Bearer eyJ[\w.-]+)'/g)].map((match) => `${match[1]}`);
        if (found.length > 1) return found as [string, string];
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    async stop() {
      child.kill('SIGINT');
      await ended;
    },
  };
}
