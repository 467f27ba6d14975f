// Made by scripts/demo-build.sh from demo/src/sdk.ts; change that instead.
// ../sdk/src/errors.ts
var HINTS = {
  network: "Network, TLS or CORS: does the broker allow the origin of this page?",
  offline: "This device is offline.",
  timeout: "The broker is slow or unreachable.",
  aborted: "The caller gave up.",
  bad_request: "The body was refused: see param.",
  unauthorized: "Your login is missing or expired.",
  forbidden: "This origin or user is not allowed.",
  not_found: "Wrong base URL or path, or the session is unknown.",
  rate_limited: "Wait for retryAfterMs.",
  quota_exceeded: "Spent: see limit, or the operator must check billing.",
  upstream_unavailable: "OpenAI or the path to it is down.",
  server_error: "The broker or your source failed: see cause, or quote requestId.",
  invalid_response: "No token: is this the URL of the broker?",
  expired: "The key died before use. It is for the Realtime API only.",
  destroyed: "Create a new manager."
};
var RETRYABLE = /^(netw|off|time|rate|up|serv)/;
var BRAND = /* @__PURE__ */ Symbol.for("realtime-token-broker.TokenError");
var TokenError = class extends Error {
  constructor(code, message, details = {}) {
    const hint = HINTS[code];
    super(message ?? hint, details);
    const docsUrl = "https://npmjs.com/package/@realtime-token-broker/client#errors";
    Object.defineProperty(this, BRAND, {});
    Object.assign(this, { name: "TokenError", code, retryable: RETRYABLE.test(code), hint, docsUrl }, details);
  }
  /** True for a token error, also one that another copy of this package made. */
  static is(value) {
    return BRAND in Object(value);
  }
};
function failure(cause, code, message) {
  return TokenError.is(cause) ? cause : new TokenError(code, message, { cause });
}

// ../sdk/src/fresh-key.ts
function isKeyRefused(error) {
  const { status, code, message } = Object(error);
  return code === "expired" || /\b40[13]\b/.test(`${status ?? message}`) || !status && /expired/i.test(`${message}`);
}
async function withFreshKey(tokens, use) {
  const first2 = await tokens.getApiKey();
  try {
    return await use(first2);
  } catch (error) {
    if (!isKeyRefused(error)) throw error;
  }
  tokens.invalidate("the key was refused");
  const second = await tokens.getApiKey();
  try {
    return await use(second);
  } catch (cause) {
    throw isKeyRefused(cause) ? new TokenError("expired", "Two keys in a row were refused.", { cause }) : cause;
  }
}

// ../sdk/src/clock.ts
var systemClock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer)
};
function stopwatch(clock) {
  const wall = clock.wall();
  const monotonic = clock.monotonic();
  return () => Math.max(clock.wall() - wall, clock.monotonic() - monotonic, 0);
}
function pause(clock, ms, signal, target) {
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      target?.removeEventListener("online", end);
      resolve();
    };
    const timer = clock.setTimeout(end, ms);
    signal.addEventListener("abort", end);
    target?.addEventListener("online", end);
    if (signal.aborted) end();
  });
}
function aborted(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

// ../sdk/src/refusal.ts
var UPSTREAM = "upstream_unavailable";
var BY_STATUS = {
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  408: "timeout",
  410: "not_found",
  429: "rate_limited",
  502: UPSTREAM,
  503: UPSTREAM,
  504: UPSTREAM
};
function retryAfter(headers, inBody, now) {
  const header = headers.get("retry-after") ?? "";
  const inHeader = parseFloat(header);
  const told = typeof inBody === "number" && inBody > 0;
  const seconds = inHeader > 0 || !told ? inHeader : inBody;
  if (seconds === seconds) return Math.max(seconds * 1e3, 1e3);
  const date = Date.parse(header);
  if (Number.isNaN(date)) return void 0;
  const server = Date.parse(headers.get("date") ?? "");
  return Math.max(Number.isNaN(server) ? Math.min(date - now, 6e4) : date - server, 1e3);
}
async function refusal(response, now) {
  const { status, headers } = response;
  const body = await response.json().catch(() => null);
  const { code, message, param, limit, request_id, retry_after } = Object(Object(body).error);
  const known = BY_STATUS[status] ?? (status < 500 ? "bad_request" : "server_error");
  const details = {
    status,
    retryAfterMs: retryAfter(headers, retry_after, now),
    requestId: headers.get("x-request-id") ?? request_id,
    brokerCode: code,
    param,
    limit
  };
  const spent = /_quota$|^quota_/.test(`${code}`);
  return new TokenError(spent ? "quota_exceeded" : known, `${message ?? `The answer was ${status}.`}`, details);
}

// ../sdk/src/sources.ts
var owners = /* @__PURE__ */ new WeakMap();
async function provided(value, code) {
  try {
    return await (typeof value === "function" ? value() : value);
  } catch (cause) {
    throw failure(cause, code, "An option failed: see cause.");
  }
}
function fromBroker(options = {}) {
  const { baseUrl = "", tokenPath = "/token", refreshPath = "/refresh-token", credentials = "same-origin", clock = systemClock } = options;
  const post = async (path, body, headers, signal) => {
    const response = await (options.fetch ?? fetch)(baseUrl.replace(/\/$/, "") + path, {
      method: "POST",
      headers: { ...body && { "content-type": "application/json" }, ...headers },
      body: body ? JSON.stringify(body) : null,
      signal,
      credentials,
      cache: "no-store",
      redirect: "error"
    }).catch((cause) => {
      throw failure(cause, "network");
    });
    if (!response.ok) throw await refusal(response, clock.wall());
    const answer = await response.json().catch(() => null);
    if (Object(answer) !== answer) throw new TokenError("invalid_response", `No JSON object but ${response.headers.get("content-type")}.`);
    const date = Date.parse(response.headers.get("date") ?? "");
    const end = answer?.expires_at ?? answer?.client_secret?.expires_at;
    return { ...end && date && { expires_in: answer?.expiresIn ?? end - date / 1e3 }, ...answer };
  };
  return async ({ previous, signal, reason }) => {
    const headers = await provided(options.headers, "unauthorized");
    const bearer = whom(new Headers(headers).get("authorization"));
    const own = (answer) => {
      owners.set(answer, bearer);
      return answer;
    };
    const session = previous?.sessionId;
    try {
      if (previous && session && (!owners.has(previous) || owners.get(previous) === bearer)) {
        return own(await post(refreshPath, { session_id: session }, headers, signal));
      }
    } catch (error) {
      const { status, brokerCode } = error;
      const over = brokerCode === "refresh_limit_reached" || brokerCode === "refresh_too_soon" && reason === "invalidated";
      if (!over && !/^(401|404|410)$/.test(`${status}`)) throw error;
    }
    return own(await post(tokenPath, await provided(options.body, "bad_request"), headers, signal));
  };
}
function whom(authorization) {
  try {
    const claims = authorization?.split(".")[1] ?? "";
    const { iss, sub } = JSON.parse(atob(claims.replace(/-/g, "+").replace(/_/g, "/")));
    return sub ? `${iss} ${sub}` : authorization;
  } catch {
    return authorization;
  }
}
function fromFunction(get) {
  return get;
}
function fromLiteral(token) {
  return async ({ previous }) => {
    if (previous) throw new TokenError("expired", "A literal token cannot be refreshed.");
    return token;
  };
}

// ../sdk/src/options.ts
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== void 0));
}
function settings(o) {
  const page = typeof addEventListener === "function" ? globalThis : void 0;
  return {
    source: fromBroker(o),
    refreshThresholdSeconds: 30,
    autoRefresh: o.enableAutoRefresh ?? true,
    whenHidden: "pause",
    maxIdleMs: 18e5,
    maxAttempts: o.maxRetryAttempts ?? 3,
    retryBaseMs: 500,
    retryMaxMs: 8e3,
    maxRetryAfterMs: 6e4,
    timeoutMs: 1e4,
    clock: systemClock,
    random: Math.random,
    page: o.eventTarget ?? page,
    logger: { warn: (message) => console.warn(message) },
    ...defined(o)
  };
}

// ../sdk/src/answer.ts
var ASSUMED_MS = 6e4;
var invalid = (what) => new TokenError("invalid_response", `The answer has ${what}.`);
var first = (type, ...values) => values.find((value) => typeof value === type && value === value);
function readAnswer(response, askedAt, warn) {
  const body = typeof response === "string" ? { value: response, expires_at: 0 } : Object(response);
  const secret = Object(body.client_secret);
  const value = first("string", body.value, body.token, secret.value);
  if (!value || /^(undefined|null)$/.test(value)) throw invalid("no value");
  if (value.startsWith("sk-")) throw invalid("a standard API key. Revoke it now: it has left the server");
  const seconds = first("number", body.expires_in, body.expiresIn);
  let lifetimeMs = Number(seconds) * 1e3;
  const end = first("number", body.expires_at, secret.expires_at, body.success && Number(body.expiresAt) / 1e3);
  if (seconds === void 0) {
    if (end === void 0) throw invalid("no expires_in or expires_at");
    lifetimeMs = end * 1e3 - askedAt;
    if (lifetimeMs < 1e4 || lifetimeMs > 72e5) {
      warn("No expires_in, and this clock does not fit: assuming 60 s.");
      lifetimeMs = ASSUMED_MS;
    }
  }
  if (lifetimeMs <= 0) throw invalid("expired already");
  const { id, model, voice, type } = Object(body.session);
  return {
    value,
    lifetimeMs,
    skewMs: end ? end * 1e3 - askedAt - lifetimeMs : 0,
    sessionId: first("string", body.sessionId, body.session_id),
    session: body.session && { id, model, voice, type },
    refreshInMs: body.refresh_in && body.refresh_in * 1e3,
    uses: body.max_uses ?? Infinity
  };
}

// ../sdk/src/attempts.ts
var LEAST_WAIT_MS = 1e3;
async function mint({ settings: settings2, reason, previous, signal, warn, told }) {
  const { clock, page } = settings2;
  for (let attempt = 1; ; attempt++) {
    told(attempt);
    const age = stopwatch(clock);
    const askedAt = clock.wall();
    const inner = new AbortController();
    const timer = clock.setTimeout(() => inner.abort(new TokenError("timeout")), settings2.timeoutMs);
    signal.addEventListener("abort", () => inner.abort(signal.reason));
    try {
      if (page?.navigator?.onLine === false) throw new TokenError("offline");
      const response = await Promise.race([settings2.source({ reason, attempt, previous, signal: inner.signal }), aborted(inner.signal)]);
      const answer = readAnswer(response, askedAt, warn);
      return { ...answer, age, expiresAt: askedAt + answer.lifetimeMs, owner: owners.get(Object(response)) };
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = failure(cause, "server_error", "The source failed.");
      error.attempt = attempt;
      const asked = error.retryAfterMs;
      const again = error.retryable && attempt < settings2.maxAttempts && (asked ?? 0) <= settings2.maxRetryAfterMs;
      const pauseMs = Math.min(settings2.retryMaxMs, settings2.retryBaseMs * 2 ** (attempt - 1)) * (1 + settings2.random()) / 2;
      const wait = asked === void 0 ? pauseMs : Math.max(asked, LEAST_WAIT_MS);
      told(attempt, error, again ? wait : null);
      if (!again) throw error;
      await pause(clock, wait, signal, asked === void 0 ? page : void 0);
      signal.throwIfAborted();
    } finally {
      clock.clearTimeout(timer);
    }
  }
}

// ../sdk/src/events.ts
var Listeners = class {
  #lists = {};
  on(type, listener, { once, signal } = {}) {
    const off = () => this.off(type, listener);
    off();
    if (signal?.aborted) return off;
    signal?.addEventListener("abort", off);
    (this.#lists[type] ??= /* @__PURE__ */ new Map()).set(listener, [once, () => signal?.removeEventListener("abort", off)]);
    return off;
  }
  off(type, listener) {
    const list = this.#lists[type];
    list?.get(listener)?.[1]();
    list?.delete(listener);
  }
  emit(type, event) {
    const list = this.#lists[type];
    for (const [listener, [once]] of [...list ?? []]) {
      if (!list?.has(listener)) continue;
      if (once) this.off(type, listener);
      try {
        listener(event);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
  clear() {
    for (const type in this.#lists) for (const listener of this.#lists[type]?.keys() ?? []) this.off(type, listener);
  }
};

// ../sdk/src/flight.ts
var Flight = class {
  #controller = new AbortController();
  #work;
  #deserted;
  #waiting = 0;
  /** Starts `work` in a moment of its own. `deserted` is called when the last caller has left. */
  constructor(work, deserted) {
    const { signal } = this.#controller;
    this.#deserted = deserted;
    this.#work = Promise.race([Promise.resolve(signal).then(work), aborted(signal)]);
    this.#work.catch(() => {
    });
  }
  /** Waits for the outcome until `signal` aborts. Without a signal it is wanted for good. */
  join(signal) {
    this.#waiting++;
    return new Promise((resolve, reject) => {
      const leave = () => {
        reject(new TokenError("aborted"));
        if (--this.#waiting) return;
        this.cancel(new TokenError("aborted"));
        this.#deserted();
      };
      const done = () => signal?.removeEventListener("abort", leave);
      signal?.addEventListener("abort", leave);
      this.#work.finally(done).then(resolve, reject);
    });
  }
  /** Ends it for everybody. */
  cancel(error) {
    this.#controller.abort(error);
  }
};

// ../sdk/src/token.ts
var RealtimeToken = class {
  #value;
  #sessionId;
  constructor({ value, sessionId, expiresAt, lifetimeMs, skewMs, session }) {
    this.#value = value;
    this.#sessionId = sessionId;
    Object.assign(this, { expiresAt, lifetimeMs, skewMs, session });
  }
  /** The secret, `ek_…`. */
  get value() {
    return this.#value;
  }
  /** The same; the name in the original clients. */
  get token() {
    return this.#value;
  }
  /** The broker's session, which a refresh names. Whoever knows it can refresh, so it is hidden like the value. */
  get sessionId() {
    return this.#sessionId;
  }
  /** For logs and screens: `ek_…9f3a`. A short value is masked whole. */
  get masked() {
    const value = this.#value;
    return value.length < 16 ? "…" : `${value.slice(0, 3)}…${value.slice(-4)}`;
  }
  toString() {
    return this.masked;
  }
  toJSON() {
    return { ...this, token: this.masked };
  }
};

// ../sdk/src/held.ts
function holding(minted, { refreshThresholdSeconds, random }) {
  const { lifetimeMs, refreshInMs, age, uses, owner } = minted;
  const lead = refreshInMs ? Math.max(lifetimeMs - refreshInMs, 1e3) : refreshThresholdSeconds * (1e3 + random() * 100);
  const token = new RealtimeToken(minted);
  if (owner !== void 0) owners.set(token, owner);
  return { token, left: () => lifetimeMs - age(), leadMs: Math.min(lead, lifetimeMs / 2), uses };
}
function nextOr(held, next, clock, pauses) {
  const left = held.left();
  return new Promise((resolve, reject) => {
    const enough = () => resolve(held);
    const off = pauses(enough);
    const timer = clock.setTimeout(enough, left > 5e3 ? left - 5e3 : left / 2);
    const done = () => {
      off();
      clock.clearTimeout(timer);
    };
    next.finally(done).then(resolve, reject);
  });
}

// ../sdk/src/presence.ts
var WAKES = ["visibilitychange", "pageshow", "pagehide", "focus", "resume", "online"];
var Presence = class {
  #settings;
  #changed;
  #page;
  /** Monotonic, so that neither sleep nor a clock that was set looks like idleness. */
  #usedAt = 0;
  #stopped = false;
  #cached = false;
  #holds = 0;
  #observers = 0;
  /** True after the last observer has left, until somebody asks or looks again. */
  #deserted = false;
  #leaving;
  /** `changed` is called whenever the answer of `resting` may have changed, or timers may have slept. */
  constructor(settings2, changed) {
    this.#settings = settings2;
    this.#changed = changed;
  }
  /** Why nothing should be fetched behind the scenes, if so. */
  resting() {
    const { autoRefresh, whenHidden, maxIdleMs, page, clock } = this.#settings();
    const hidden = this.#cached || page?.document?.visibilityState === "hidden";
    if (!autoRefresh) return "disabled";
    if (this.#stopped) return "paused";
    if (this.#holds) return null;
    if (this.#deserted || hidden && whenHidden === "pause") return "paused";
    return clock.monotonic() - this.#usedAt > maxIdleMs ? "idle" : null;
  }
  /** Somebody asked for a token. */
  used() {
    const { clock } = this.#settings();
    const before = this.#deserted;
    this.#usedAt = clock.monotonic();
    clock.clearTimeout(this.#leaving);
    this.#deserted = false;
    if (before) this.#changed(false);
  }
  stop(stopped) {
    this.#stopped = stopped;
    this.#changed(false);
  }
  hold() {
    let held = 1;
    const change = (by) => {
      this.#holds += by;
      this.#changed(false);
    };
    const release2 = () => {
      if (held) change(-held);
      held = 0;
    };
    change(held);
    return { release: release2, [Symbol.dispose]: release2 };
  }
  /** Somebody looks, until the answer is called. */
  observe() {
    const before = this.#deserted;
    this.#observers++;
    this.#deserted = false;
    this.listen();
    if (before) this.#changed(false);
    return () => {
      if (--this.#observers) return;
      this.#leaving = this.#settings().clock.setTimeout(() => {
        this.#deserted = !this.#observers;
        this.#changed(false);
      }, 0);
    };
  }
  /** Listens to the page; not before the first use, so that a server or an import touches nothing. */
  listen() {
    if (this.#page) return;
    this.#page = this.#settings().page;
    for (const type of WAKES) this.#page?.addEventListener(type, this.#heard, true);
  }
  close() {
    for (const type of WAKES) this.#page?.removeEventListener(type, this.#heard, true);
  }
  #heard = ({ type }) => {
    if (type.startsWith("page")) this.#cached = type === "pagehide";
    this.#changed(type === "online");
  };
};

// ../sdk/src/snapshot.ts
var IDLE = Object.freeze({
  phase: "idle",
  token: null,
  expiresAt: null,
  refreshAt: null,
  error: null,
  attempt: 0,
  nextAttemptAt: null
});

// ../sdk/src/token-manager.ts
var FLOOR_MS = 5e3;
var SHARED_FAILURE_MS = 5e3;
var LONGEST_SHARED_MS = 6e4;
var TICK_MS = 15e3;
var RESTING = { attempt: 0, nextAttemptAt: null };
var TokenManager = class {
  #given;
  #settings;
  #listeners = new Listeners();
  #snapshot = IDLE;
  #held = null;
  /** The last token, for its session. */
  #previous = null;
  #flight = null;
  /** `wait`: milliseconds until the next refresh behind the scenes; `shared`: until callers cause a request again. */
  #failure = null;
  /** Counts what `forget()` has ended. */
  #user = 0;
  /** What the phase is without a token. */
  #outcome = "idle";
  #progress = RESTING;
  #sinceMint = () => Infinity;
  /** True when a token that ends should be followed by another. */
  #wanted = false;
  /** Why the next token is fetched, when that is not what its caller says. */
  #reason = "initial";
  #timer;
  #presence = new Presence(() => this.#settings, (online) => this.#woken(online));
  #warned = /* @__PURE__ */ new Set();
  constructor(options = {}) {
    this.#given = options;
    this.#settings = settings(options);
  }
  /** A token that is valid for a while. Waits only when the one at hand is not. */
  requestToken(options = {}) {
    return this.#get(options, options.minValidityMs ?? 5e3);
  }
  /** A new token, whatever is held. */
  refreshToken(options = {}) {
    return this.requestToken({ ...options, force: true });
  }
  /** A key for an SDK: valid for 30 s, or for half of its life. Bound, so that it can be handed over as it is. */
  getApiKey = async () => (await this.#get({}, 3e4, true)).value;
  getSnapshot() {
    return this.#snapshot;
  }
  /** Calls `listener` when the snapshot changes. When the last observer leaves, refreshing behind the scenes pauses. */
  subscribe(listener) {
    if (this.#outcome === "destroyed") return () => {
    };
    const off = this.#listeners.on("stateChange", () => listener());
    const leave = this.#presence.observe();
    let here = true;
    return () => {
      if (here) leave();
      here = false;
      off();
    };
  }
  on(type, listener, options) {
    return this.#outcome === "destroyed" ? () => {
    } : this.#listeners.on(type, listener, options);
  }
  off(type, listener) {
    this.#listeners.off(type, listener);
  }
  /** The server refused this token: drop it. The next call fetches. */
  invalidate(reason = "invalidated") {
    if (this.#outcome === "destroyed") return;
    this.#settings.logger.debug?.(reason);
    this.#reason = "invalidated";
    this.#failure = null;
    this.#drop("idle");
    this.#commit();
  }
  /** The user has changed: drops the token, its session and a failure. Callers who wait get the next user's token. */
  forget() {
    if (this.#outcome === "destroyed") return;
    this.#user++;
    this.#flight?.cancel(new TokenError("aborted"));
    this.#land();
    this.#previous = this.#failure = null;
    this.#reason = "initial";
    this.#drop("idle");
    this.#commit();
  }
  /** A live connection: keeps the token fresh even when the page is hidden or idle. */
  hold() {
    return this.#presence.hold();
  }
  /** Fetches nothing behind the scenes until `resume()`. Calls are still served. */
  pause() {
    this.#presence.stop(true);
  }
  resume() {
    this.#presence.stop(false);
  }
  updateOptions(options) {
    this.#given = { ...this.#given, ...options };
    this.#settings = settings(this.#given);
    if (this.#failure) {
      this.#sinceMint = stopwatch(this.#settings.clock);
      this.#failure = null;
      if (!this.#held) this.#wanted = false;
    }
    this.#check("scheduled");
  }
  /** Ends it: waiting callers get `destroyed`, and nothing happens afterwards. */
  destroy() {
    if (this.#outcome === "destroyed") return;
    this.#flight?.cancel(new TokenError("destroyed"));
    this.#land();
    this.#previous = null;
    this.#drop("destroyed");
    this.#presence.close();
    this.#commit();
    this.#listeners.clear();
  }
  [Symbol.dispose]() {
    this.destroy();
  }
  getCurrentToken() {
    return this.isTokenValid() ? this.#held?.token ?? null : null;
  }
  isTokenValid(minValidityMs = 0) {
    return this.getTimeUntilExpiration() > minValidityMs;
  }
  /** Milliseconds that the token still lives, by elapsed time; 0 without one. */
  getTimeUntilExpiration() {
    return Math.max(this.#held?.left() ?? 0, 0);
  }
  /** Where the broker is. `calls` and `relay` are served by a broker that has these modes. */
  get urls() {
    const { baseUrl = "", tokenPath = "/token" } = this.#given;
    const url = (path) => {
      const joined = baseUrl.replace(/\/$/, "") + path;
      return typeof location === "undefined" ? joined : new URL(joined, location.href).href;
    };
    return { token: url(tokenPath), calls: url("/calls"), relay: url("/realtime").replace(/^http/, "ws") };
  }
  async #get({ force = false, minValidityMs, signal }, atLeast, forKey = false) {
    this.#presence.used();
    for (; ; ) {
      if (this.#outcome === "destroyed") throw new TokenError("destroyed");
      if (signal?.aborted) throw new TokenError("aborted", void 0, { cause: signal.reason });
      this.#expire();
      const held = this.#held;
      const needed = forKey && held ? Math.min(atLeast, held.token.lifetimeMs / 2) : atLeast;
      if (held && !force && held.left() > needed) {
        if (held.left() <= held.leadMs && !((this.#failure?.wait() ?? 0) > 0) && this.#sinceMint() >= FLOOR_MS) this.#behind("demand");
        return this.#handOut(held);
      }
      const user = this.#user;
      const modest = !force && minValidityMs === void 0;
      try {
        if (!this.#flight && !force && this.#failure && this.#failure.shared() > 0) throw this.#failure.error;
        const got = await this.#wait(this.#flight ?? this.#start(force ? "forced" : "demand"), modest ? held : null, signal);
        if (got.uses > 0 && user === this.#user && (got !== held || got === this.#held)) return this.#handOut(got);
      } catch (error) {
        const { code } = error;
        if (user !== this.#user && code === "aborted" && !signal?.aborted) continue;
        const alive = this.#held;
        const serves = alive && alive.left() > 0 && modest;
        if (!serves || code === "aborted" || code === "destroyed") throw error;
        return this.#handOut(alive);
      }
    }
  }
  /** Waits for `flight`; when `held` would do, only until that pauses after a failure or `held` is nearly over. */
  #wait(flight, held, signal) {
    const joined = flight.join(signal);
    if (!held) return joined;
    return nextOr(held, joined, this.#settings.clock, (enough) => {
      if (this.#progress.nextAttemptAt) enough();
      return this.#listeners.on("tokenError", ({ willRetry }) => willRetry && enough());
    });
  }
  #handOut(held) {
    if (--held.uses <= 0 && held === this.#held) {
      this.#drop("idle");
      this.#commit();
    }
    return held.token;
  }
  #drop(outcome) {
    this.#held = null;
    this.#wanted = false;
    this.#outcome = outcome;
    this.#schedule();
  }
  #start(reason) {
    this.#presence.listen();
    const flight = new Flight(
      (signal) => this.#fetch(this.#reason ?? reason, signal),
      () => {
        if (this.#flight !== flight) return;
        this.#land();
        this.#check("scheduled");
      }
    );
    this.#flight = flight;
    this.#commit();
    return flight;
  }
  /** Starts a flight that nobody has to wait for. */
  #behind(reason) {
    if (!this.#flight) this.#start(reason).join().catch(() => {
    });
  }
  #land() {
    this.#flight = null;
    this.#progress = RESTING;
  }
  async #fetch(reason, signal) {
    signal.throwIfAborted();
    const settings2 = this.#settings;
    const began = settings2.clock.monotonic();
    const minted = await mint({
      settings: settings2,
      reason,
      previous: this.#previous,
      signal,
      warn: (message) => this.#warn(message),
      told: (attempt, error, wait) => this.#told(attempt, error, wait)
    });
    signal.throwIfAborted();
    const before = this.#held;
    const held = this.#accept(minted);
    this.#land();
    this.#commit();
    if (held !== before) this.#listeners.emit("tokenRefreshed", { token: held.token, reason, latencyMs: settings2.clock.monotonic() - began });
    this.#check("scheduled");
    return held;
  }
  #accept(minted) {
    this.#failure = this.#reason = null;
    this.#wanted = true;
    this.#sinceMint = stopwatch(this.#settings.clock);
    const next = holding(minted, this.#settings);
    if (this.#held && this.#held.left() > next.left() && owners.get(this.#held.token) === minted.owner) {
      this.#warn("The new token would end sooner than the old one, which is kept.");
      return this.#held;
    }
    this.#previous = next.token;
    return this.#held = next;
  }
  #told(attempt, error, wait) {
    const { clock } = this.#settings;
    const nextAttemptAt = wait == null ? null : clock.wall() + wait;
    this.#progress = { attempt, nextAttemptAt };
    if (error && wait === null) {
      const since = stopwatch(clock);
      const wait2 = Math.max(error.retryAfterMs || SHARED_FAILURE_MS, LEAST_WAIT_MS);
      this.#failure = { error, wait: () => wait2 - since(), shared: () => Math.min(wait2, LONGEST_SHARED_MS) - since() };
      if (!this.#held) this.#outcome = "failed";
      this.#wanted = true;
      this.#land();
    }
    this.#commit(error);
    if (!error) return;
    this.#listeners.emit("tokenError", { error, attempt, willRetry: wait !== null, nextAttemptAt });
    this.#check("scheduled");
  }
  /** Milliseconds until a refresh behind the scenes is due; Infinity when none is. */
  #due() {
    const failed = this.#failure;
    const wanted = this.#held ? !failed || failed.error.retryable : this.#wanted && !failed;
    if (!wanted || this.#flight || this.#presence.resting()) return Infinity;
    const wait = this.#held ? this.#held.left() - this.#held.leadMs : 0;
    return Math.max(wait, FLOOR_MS - this.#sinceMint(), failed?.wait() ?? 0);
  }
  /** Ends a token whose time has come. */
  #expire() {
    const held = this.#held;
    const left = held?.left() ?? 1;
    if (!held || left > 0) return;
    const cause = this.#presence.resting() ?? (this.#failure || this.#flight ? "refresh-failed" : "paused");
    const wanted = this.#wanted;
    this.#drop("expired");
    this.#wanted = wanted;
    this.#commit();
    this.#listeners.emit("tokenExpired", { expiredAt: held.token.expiresAt, lateByMs: -left, cause });
  }
  /** Looks at the time and at the page, and does what is due. `early` is how late the next look may come. */
  #check(reason, early = 0) {
    this.#expire();
    const due = this.#due();
    const held = this.#held;
    const late = held && !this.#failure && this.#sinceMint() >= FLOOR_MS && held.left() <= held.token.lifetimeMs / 2;
    const soon = late && due <= early;
    if (due <= 0 || soon) this.#behind(reason);
    this.#commit();
    this.#schedule();
  }
  #schedule() {
    const { clock } = this.#settings;
    clock.clearTimeout(this.#timer);
    const next = Math.min(this.#held?.left() ?? Infinity, this.#due());
    if (next === Infinity) return;
    const asked = Math.ceil(Math.min(Math.max(next, 0), TICK_MS));
    const since = stopwatch(clock);
    this.#timer = clock.setTimeout(() => this.#check("scheduled", Math.min(since() - asked, 6e4)), asked);
  }
  #woken(online) {
    const failed = this.#failure;
    if (failed && (failed.wait() <= 0 || online && /^(network|offline|timeout)$/.test(failed.error.code))) this.#failure = null;
    this.#check(online ? "online" : "resume");
  }
  #phase() {
    if (this.#flight) return this.#progress.nextAttemptAt ? "backoff" : this.#held ? "refreshing" : "requesting";
    if (this.#previous && this.#presence.resting() === "paused") return "paused";
    return this.#held ? "ready" : this.#outcome;
  }
  /** Makes the new state visible. Observers are called after it is complete, so they may call back. */
  #commit(error = this.#failure?.error ?? (this.#flight ? this.#snapshot.error : null)) {
    const held = this.#held;
    const token = held?.token ?? null;
    const next = {
      phase: this.#phase(),
      token,
      expiresAt: token?.expiresAt ?? null,
      refreshAt: held && !this.#presence.resting() ? held.token.expiresAt - held.leadMs : null,
      error,
      ...this.#progress
    };
    const before = this.#snapshot;
    if (Object.keys(next).every((key) => Object.is(next[key], before[key]))) return;
    this.#snapshot = Object.freeze(next);
    this.#listeners.emit("stateChange", this.#snapshot);
  }
  #warn(message) {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#settings.logger.warn?.(message);
  }
};

// ../sdk/src/registry.ts
var shared = /* @__PURE__ */ new Map();
function createTokenManager(options) {
  return new TokenManager(options);
}
function getTokenManager({ key = "default", ...options } = {}) {
  let known = shared.get(key);
  if (!known || known.manager.getSnapshot().phase === "destroyed") {
    known = { manager: createTokenManager(options), options };
    shared.set(key, known);
  }
  for (const [name, value] of Object.entries(defined(options))) {
    if (/object|function/.test(typeof value) || known.warned || known.options[name] === value) continue;
    known.warned = true;
    (known.options.logger ?? console).warn?.("getTokenManager: other options than before; use updateOptions() or another key.");
  }
  return known.manager;
}
function destroyTokenManager(key = "default") {
  shared.get(key)?.manager.destroy();
  shared.delete(key);
}

// ../sdk/src/connection.ts
var HINTS2 = {
  microphone_denied: "Allow the microphone in the settings of the page and connect again; it needs https or localhost.",
  microphone_missing: "No microphone can be used.",
  refused: "The offer was refused: status and message say why.",
  invalid_answer: "The answer is no SDP: is this URL right?",
  timeout: "No way through: a firewall may block UDP.",
  lost: "The connection broke. A new one begins without the context of the old one."
};
var ConnectionError = class extends Error {
  code;
  hint;
  /** Status of the answer, when it was refused. */
  status;
  constructor(code, message, details = {}) {
    super(message ?? HINTS2[code], { cause: details.cause });
    this.name = "ConnectionError";
    this.code = code;
    this.hint = HINTS2[code];
    this.status = details.status;
  }
};
var NOTHING = Object.freeze({ status: "disconnected", error: null, session: null, timings: {} });
var STABLE_MS = 3e4;
var YOUNG_MS = 1e4;
var Connection = class {
  /** May be replaced at any time; the next attempt uses it. */
  options;
  listeners = new Listeners();
  #snapshot = NOTHING;
  #controller = new AbortController();
  #stream = null;
  /** Lets go of the stream: stops it if it is ours. */
  #release = () => {
  };
  #hold = null;
  #running = Promise.resolve();
  #breaks = 0;
  constructor(options) {
    this.options = options;
  }
  getSnapshot = () => this.#snapshot;
  subscribe = (listener) => this.listeners.on("change", (() => listener()));
  on(type, listener, options) {
    return this.listeners.on(type, listener, options);
  }
  /** Connects, unless it does already. Never rejects: how it went is in the snapshot. */
  connect = () => {
    if (this.#snapshot.status === "disconnected") {
      this.#breaks = 0;
      this.#running = this.#open();
    }
    return this.#running;
  };
  /** Ends it, also while it is connecting. */
  disconnect = () => this.#end(null);
  #end(error) {
    this.#controller.abort();
    const { session } = this.#snapshot;
    this.#release();
    this.#release = () => {
    };
    this.#stream = null;
    this.#hold?.release();
    this.#hold = null;
    this.#set({ status: "disconnected", error, session: null });
    void close(session);
  }
  /** `broken` is why the last connection ended, when this one replaces it. */
  async #open(broken) {
    const { tokens, connect, microphone = true } = this.options;
    const { signal } = this.#controller = new AbortController();
    let step = stopwatch(systemClock);
    const timings = {};
    const took = (name) => {
      timings[name] = step();
      step = stopwatch(systemClock);
    };
    this.#set({ status: "connecting", error: null, session: null });
    this.#hold ??= tokens.hold();
    try {
      if (broken) {
        await pause(systemClock, 250 * 2 ** this.#breaks, signal);
        signal.throwIfAborted();
        const age = (tokens.getCurrentToken()?.lifetimeMs ?? 0) - tokens.getTimeUntilExpiration();
        if (isKeyRefused(broken.reason)) tokens.invalidate("the key was refused");
        else if (age > YOUNG_MS) await tokens.refreshToken({ signal }).catch(() => {
        });
        signal.throwIfAborted();
      }
      const before = this.#stream;
      const stream = before ?? await open(microphone);
      if (!before) {
        const letGo = () => release(stream, microphone);
        if (signal.aborted) return letGo();
        this.#stream = stream;
        this.#release = letGo;
      }
      took("microphone");
      const session = await withFreshKey(tokens, (apiKey) => {
        signal.throwIfAborted();
        took("key");
        return connect({ apiKey, signal, stream, lost: (reason) => this.#lost(signal, reason) });
      });
      if (signal.aborted) return void close(session);
      took("connect");
      this.#set({ status: "connected", error: null, session, timings });
      const stable = setTimeout(() => this.#breaks = 0, STABLE_MS);
      signal.addEventListener("abort", () => clearTimeout(stable));
      if (broken) this.listeners.emit("contextLost", broken);
    } catch (error) {
      if (signal.aborted) return;
      if (broken) this.#lost(signal, error);
      else this.#end(error);
    }
  }
  #lost(signal, reason) {
    if (signal.aborted) return;
    const error = reason instanceof Error ? reason : new ConnectionError("lost", void 0, { cause: reason });
    if (this.#breaks++ >= (this.options.reconnect ?? 0)) return this.#end(error);
    this.#controller.abort();
    const { session } = this.#snapshot;
    this.#running = this.#open({ reason: error });
    void close(session);
  }
  #set(change) {
    const before = this.#snapshot.status;
    this.#snapshot = Object.freeze({ ...this.#snapshot, ...change });
    this.listeners.emit("change", void 0);
    if (before !== this.#snapshot.status) this.listeners.emit("status", this.#snapshot.status);
  }
};
async function close(session) {
  try {
    await session?.close?.();
  } catch {
  }
}
function release(stream, microphone) {
  if (stream !== microphone) for (const track of stream?.getTracks() ?? []) track.stop();
}
async function open(microphone) {
  if (!microphone) return null;
  if (typeof microphone === "object" && "getTracks" in microphone) return microphone;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: microphone });
  } catch (cause) {
    throw new ConnectionError(/NotAllowed/.test(`${Object(cause).name}`) ? "microphone_denied" : "microphone_missing", void 0, { cause });
  }
}

// ../sdk/src/webrtc/call.ts
var OPENAI_CALLS = "https://api.openai.com/v1/realtime/calls";
async function exchange(url, sdp, apiKey, signal, send) {
  const response = await send(url, {
    method: "POST",
    // These two only: another header would need a preflight that OpenAI refuses.
    headers: { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/sdp" },
    body: sdp,
    signal
  });
  if (response.ok) return response;
  const text = await response.text();
  const told = /"message":\s*"([^"]*)"/.exec(text)?.[1];
  throw new ConnectionError("refused", `The offer was refused with ${response.status}: ${told ?? text.slice(0, 200)}`, {
    status: response.status
  });
}
async function openCall(context, options, hear) {
  const { stream, signal, lost } = context;
  const { url = OPENAI_CALLS, graceMs = 5e3, timeoutMs = 1e4, openTimeoutMs = 15e3 } = options;
  signal.throwIfAborted();
  const peer = new RTCPeerConnection(options.rtc);
  const audio = options.audio === void 0 ? new Audio() : options.audio;
  const remote = new MediaStream();
  const channel = peer.createDataChannel("oai-events");
  const posting = new AbortController();
  let grace;
  let late;
  let state = "opening";
  let fail = () => {
  };
  const opened = new Promise((resolve, reject) => {
    channel.onopen = () => resolve();
    fail = reject;
  });
  opened.catch(() => {
  });
  const unlessOver = (work) => Promise.race([work, opened]);
  const close2 = () => {
    state = "over";
    clearTimeout(grace);
    clearTimeout(late);
    posting.abort();
    channel.close();
    peer.close();
    if (audio?.srcObject === remote) audio.srcObject = null;
  };
  const broken = (reason) => {
    const before = state;
    if (before === "over") return;
    const error = new ConnectionError("lost", reason);
    fail(error);
    close2();
    if (before === "open") lost(error);
  };
  signal.addEventListener("abort", () => {
    fail(signal.reason);
    close2();
  });
  peer.onconnectionstatechange = () => {
    const now = peer.connectionState;
    clearTimeout(grace);
    if (now === "failed" || now === "closed") broken(`The peer connection has ${now}.`);
    if (now === "disconnected") grace = setTimeout(() => broken("The peer connection stayed disconnected."), graceMs);
  };
  channel.onmessage = ({ data }) => hear(JSON.parse(`${data}`));
  channel.onclose = () => broken("The other side has hung up.");
  peer.ontrack = ({ track }) => {
    remote.addTrack(track);
    if (!audio) return;
    audio.autoplay = true;
    audio.srcObject = remote;
  };
  const tracks = stream?.getAudioTracks() ?? [];
  for (const track of tracks) peer.addTrack(track, stream);
  if (!tracks.length) peer.addTransceiver("audio", { direction: "recvonly" });
  try {
    const offer = await peer.createOffer();
    await peer.setLocalDescription(offer);
    const started = performance.now();
    late = setTimeout(() => fail(new ConnectionError("timeout", "The offer was not answered in time.")), timeoutMs);
    const response = await unlessOver(exchange(url, `${offer.sdp}`, context.apiKey, posting.signal, options.fetch ?? fetch));
    const sdp = await unlessOver(response.text());
    clearTimeout(late);
    if (!sdp.startsWith("v=")) throw new ConnectionError("invalid_answer", `The answer is ${response.headers.get("content-type")}, not SDP.`);
    const answered = performance.now();
    late = setTimeout(() => fail(new ConnectionError("timeout")), openTimeoutMs);
    await peer.setRemoteDescription({ type: "answer", sdp });
    await opened;
    clearTimeout(late);
    state = "open";
    return {
      peer,
      remote,
      callId: response.headers.get("location")?.split("/").pop() ?? null,
      timings: { sdp: answered - started, open: performance.now() - answered },
      send: (event) => channel.send(JSON.stringify(event)),
      close: close2
    };
  } catch (error) {
    close2();
    throw error;
  }
}

// ../sdk/src/webrtc/connection.ts
var RealtimeConnection = class extends Connection {
  #warning;
  constructor(options) {
    const hear = (event) => this.#hear(event, options.warnBeforeMs ?? 6e4);
    super({ reconnect: 3, ...defined(options), connect: (context) => openCall(context, options, hear) });
    this.on("status", () => clearTimeout(this.#warning));
  }
  /** Sends an event. False when there is nobody to send it to. */
  send(event) {
    const { session } = this.getSnapshot();
    session?.send(event);
    return session !== null;
  }
  /** Mutes the microphone, or opens it again; the connection stays. */
  mute(muted) {
    for (const { track } of this.getSnapshot().session?.peer.getSenders() ?? []) if (track) track.enabled = !muted;
  }
  #hear(event, before) {
    const end = Number(Object(event["session"]).expires_at) * 1e3;
    if (event.type === "session.created" && end) {
      clearTimeout(this.#warning);
      const skew = this.options.tokens.getSnapshot().token?.skewMs ?? 0;
      const wait = Math.min(end - skew - Date.now() - before, 2 ** 31 - 1);
      this.#warning = setTimeout(() => this.listeners.emit("sessionWillExpire", { expiresAt: end }), wait);
    }
    this.listeners.emit("event", event);
  }
};
function createRealtimeConnection(options) {
  return new RealtimeConnection(options);
}

// ../sdk/src/webrtc/levels.ts
function createLevelMeter(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return {
    read() {
      analyser.getFloatTimeDomainData(samples);
      return samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
    },
    close: () => void context.close()
  };
}
export {
  ConnectionError,
  OPENAI_CALLS,
  RealtimeConnection,
  TokenError,
  TokenManager,
  createLevelMeter,
  createRealtimeConnection,
  createTokenManager,
  destroyTokenManager,
  fromBroker,
  fromFunction,
  fromLiteral,
  getTokenManager,
  openCall,
  withFreshKey
};
