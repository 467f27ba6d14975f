// The set-up of browser tests: Chromium, a page on one origin, the real broker on another, and a peer as the model.
import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { type RealBroker, startBroker } from '../broker.js';
import { answer, hangUp } from './model.js';

const CHROMIUM = process.env['CHROMIUM'] ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

export interface Offer {
  authorization: string;
  headers: IncomingMessage['headers'];
}

/** The status of the connection of a page, with its error if there is one. */
export const state = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const { status, error } = window.connection.getSnapshot();
    return error ? `${status} ${error.code} ${error.message}` : status;
  });
/** Lets a page connect. Returns the state of its connection afterwards. */
export const connect = async (page: Page): Promise<string> => {
  await page.evaluate(() => window.connection.connect());
  return state(page);
};
/** Waits until a page was told exactly this, or something of this form. */
export const told = (page: Page, what: string | RegExp): Promise<unknown> =>
  page.waitForFunction((what) => window.told.some((each) => (typeof what === 'string' ? each === what : what.test(each))), what, { timeout: 60_000 });

export class Stage {
  readonly offers: Offer[] = [];
  /** Statuses that the next offers are answered with, instead of SDP. 0 never answers. */
  readonly refusals: number[] = [];
  readonly broker: RealBroker;
  readonly #browser: Browser;
  readonly #servers: Server[] = [];
  readonly #contexts = new Set<BrowserContext>();
  #model!: Page;
  pageUrl = '';
  callsUrl = '';
  /** A service that refuses with 429 and forgets CORS. */
  muteUrl = '';

  private constructor(broker: RealBroker, browser: Browser) {
    this.broker = broker;
    this.#browser = browser;
  }

  /** Starts everything. The broker gets these settings, too. */
  static async set(...settings: string[]): Promise<Stage> {
    if (!CHROMIUM) throw new Error('No Chromium: apt-get install chromium, or set CHROMIUM to the executable.');
    const limits = ['limits.token=1000/60s', 'session.min_refresh_interval=1s', 'session.max_live=1000', 'call.max_live_network=100', 'call.max_live_anonymous=100'];
    const broker = await startBroker(...limits, ...settings);
    const args = [
      '--use-fake-device-for-media-stream',
      '--allow-loopback-in-peer-connection',
      '--disable-features=WebRtcHideLocalIpsWithMdns',
      '--autoplay-policy=no-user-gesture-required',
    ];
    const browser = await chromium.launch({ executablePath: CHROMIUM, args, chromiumSandbox: process.getuid?.() !== 0 });
    const stage = new Stage(broker, browser);
    await stage.#open();
    return stage;
  }

  async #open(): Promise<void> {
    const script = await build({
      entryPoints: [fileURLToPath(new URL('page.js', import.meta.url))],
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'browser',
      define: { 'process.env.NODE_ENV': '"development"' },
      logLevel: 'error',
    });
    const code = script.outputFiles[0]?.text ?? '';
    this.pageUrl = await this.serve('localhost', (request, response) => {
      const js = request.url === '/page.js';
      response.setHeader('content-type', js ? 'text/javascript' : 'text/html');
      response.end(js ? code : '<!doctype html><title>test</title><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>');
    });
    this.callsUrl = `${await this.serve('127.0.0.1', (request, response) => void this.#call(request, response))}/v1/realtime/calls`;
    this.muteUrl = await this.serve('127.0.0.1', (_, response) => void response.writeHead(429, { 'retry-after': '7' }).end('{}'));
    this.#model = await this.#browser.newPage();
    await this.#model.goto(this.pageUrl);
  }

  /** Serves on a free port of the loopback interface. Returns the origin. */
  async serve(host: string, listener: RequestListener): Promise<string> {
    const server = createServer(listener);
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://${host}:${(server.address() as AddressInfo).port}`;
  }

  async #call(...[request, response]: Parameters<RequestListener>): Promise<void> {
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-allow-headers', 'authorization, content-type, x-openai-agents-sdk');
    response.setHeader('access-control-expose-headers', 'location');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    let offer = '';
    for await (const chunk of request) offer += String(chunk);
    this.offers.push({ authorization: request.headers.authorization ?? '', headers: request.headers });
    const refusal = this.refusals.shift();
    if (refusal === 0) return;
    if (refusal) return void response.writeHead(refusal, { 'content-type': 'application/json' }).end('{"error":{"message":"expired"}}');
    const sdp = await this.answer(offer);
    response.writeHead(201, { 'content-type': 'application/sdp', location: '/v1/realtime/calls/rtc_test' }).end(sdp);
  }

  /** Closes the pages of the last test, which would otherwise go on calling. */
  async clear(): Promise<void> {
    for (const context of this.#contexts) await context.close();
    this.#contexts.clear();
    this.offers.length = this.refusals.length = 0;
  }

  /** The model takes a call. */
  answer(offer: string): Promise<string> {
    return this.#model.evaluate(answer, offer);
  }

  /** The model ends all calls. */
  hangUp(): Promise<void> {
    return this.#model.evaluate(hangUp);
  }

  /** A page of its own, with a manager on the real broker in `window.tokens`. */
  async page(context?: BrowserContext, microphone = true): Promise<Page> {
    const own = context ?? (await this.#browser.newContext());
    this.#contexts.add(own);
    if (microphone) await own.grantPermissions(['microphone'], { origin: this.pageUrl });
    const page = await own.newPage();
    await page.goto(this.pageUrl);
    await page.evaluate((baseUrl) => {
      window.told = [];
      window.tokens = window.lab.createTokenManager({ baseUrl });
      for (const type of ['tokenRefreshed', 'tokenExpired', 'tokenError'] as const) window.tokens.on(type, () => window.told.push(type));
    }, this.broker.url);
    return page;
  }

  /** The same, with a connection in `window.connection` whose calls this stage answers. */
  async caller(options: { microphone?: boolean; granted?: boolean } = {}): Promise<Page> {
    const { microphone = true, granted = true } = options;
    const page = await this.page(undefined, granted);
    await page.evaluate(
      ({ url, microphone }) => {
        window.connection = window.lab.createRealtimeConnection({ tokens: window.tokens, url, microphone });
        window.connection.on('status', (status) => window.told.push(status));
        window.connection.on('event', ({ type }) => window.told.push(type));
        window.connection.on('contextLost', () => window.told.push('contextLost'));
        window.connection.on('sessionWillExpire', () => window.told.push('sessionWillExpire'));
      },
      { url: this.callsUrl, microphone },
    );
    return page;
  }

  async strike(): Promise<void> {
    await this.#browser.close();
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
    await this.broker.stop();
  }
}
