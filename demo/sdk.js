// Made by scripts/demo-build.sh from demo/src/sdk.ts; change that instead.
// ../sdk/src/errors.ts
var KINDS = {
  network: ["Network, TLS or CORS: does the broker allow this origin?"],
  offline: ["This device is offline."],
  timeout: ["The broker is too slow.", 408],
  aborted: ["The caller gave up."],
  bad_request: ["See param or cause."],
  unauthorized: ["Your login is missing or expired.", 401],
  forbidden: ["This origin or user is not allowed.", 403],
  not_found: ["Wrong base URL or path.", 404, 410],
  rate_limited: ["Wait for retryAfterMs.", 429],
  quota_exceeded: ["See limit, or ask the operator."],
  upstream_unavailable: ["OpenAI or the path to it is down.", 502, 503, 504],
  server_error: ["See cause, or quote requestId."],
  invalid_response: ["Is this the URL of the broker?"],
  expired: ["The key is for the Realtime API only."],
  destroyed: ["Create a new manager."]
};
var RETRYABLE = /^(netw|off|time|rate|up|serv)/;
var DOCS_URL = "docs/client.md#errors";
var BRAND = /* @__PURE__ */ Symbol.for("realtime-token-broker.TokenError");
var TokenError = class extends Error {
  constructor(code, message, details = {}) {
    const [hint] = KINDS[code];
    super(message ?? hint, details);
    Object.assign(this, { [BRAND]: true, name: "TokenError", code, retryable: RETRYABLE.test(code), hint, docsUrl: DOCS_URL }, details);
  }
  /** True for a token error, also one that another copy of this package made. */
  static is(value) {
    return BRAND in Object(value);
  }
};
function failure(cause, code) {
  return TokenError.is(cause) ? cause : new TokenError(code, void 0, { cause });
}
function codeOf(status) {
  const known = Object.keys(KINDS).find((code) => KINDS[code].includes(status));
  return known ?? (status < 500 ? "bad_request" : "server_error");
}

// ../sdk/src/fresh-key.ts
function isKeyRefused(error) {
  const { status, code, message } = Object(error);
  return code === "expired" || /\b40[13]\b/.test(`${status ?? message}`) || !status && /expired/i.test(`${message}`);
}
async function withFreshKey(tokens, use) {
  const first = await tokens.getApiKey();
  try {
    return await use(first);
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

// ../sdk/src/token.ts
var RealtimeToken = class {
  #value;
  #sessionId;
  constructor(value, sessionId, facts) {
    this.#value = value;
    this.#sessionId = sessionId;
    Object.assign(this, facts);
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

// ../sdk/src/answer.ts
var invalid = (what) => new TokenError("invalid_response", `The answer has ${what}.`);
function question(settings2, warn) {
  const { clock, random, refreshThresholdSeconds } = settings2;
  const askedAt = clock.wall();
  const age = stopwatch(clock);
  return (response) => {
    const body = typeof response === "string" ? { value: response, expires_in: 60 } : Object(response);
    const { value, token, expires_in, expiresIn, success, expiresAt, expires_at, session, refresh_in, max_uses, answeredAt } = {
      ...body.client_secret,
      ...body
    };
    const secret = value ?? token;
    if (typeof secret !== "string" || /^(undefined|null)?$/.test(secret)) throw invalid("no value");
    if (secret.startsWith("sk-")) throw invalid("a standard API key: revoke it now");
    const end = expires_at ? expires_at * 1e3 : success ? Number(expiresAt) : NaN;
    let lifetimeMs = Number(expires_in ?? expiresIn ?? NaN) * 1e3;
    if (Number.isNaN(lifetimeMs)) {
      lifetimeMs = end - (answeredAt || askedAt);
      if (!answeredAt && (lifetimeMs < 1e4 || lifetimeMs > 72e5)) {
        warn("No expires_in, and a wrong clock: assuming 60 s.");
        lifetimeMs = 6e4;
      }
    }
    if (!(lifetimeMs > 0)) throw invalid("no expires_in or expires_at, or is over");
    const { id, model, voice, type } = Object(session);
    const lead = refresh_in ? Math.max(lifetimeMs - refresh_in * 1e3, 1e3) : refreshThresholdSeconds * (1e3 + random() * 100);
    return {
      token: new RealtimeToken(secret, body.sessionId ?? body.session_id, {
        expiresAt: askedAt + lifetimeMs,
        lifetimeMs,
        skewMs: end - askedAt - lifetimeMs || 0,
        session: session && { id, model, voice, type }
      }),
      left: () => lifetimeMs - age(),
      leadMs: Math.min(lead, lifetimeMs / 2),
      uses: max_uses && max_uses > 0 ? max_uses : Infinity,
      owner: body.owner
    };
  };
}

// ../sdk/src/refusal.ts
function retryAfter(headers, inBody, now) {
  const header = headers.get("retry-after") ?? "";
  const inHeader = parseFloat(header);
  const seconds = inHeader > 0 || !(Number(inBody) > 0) ? inHeader : Number(inBody);
  if (!Number.isNaN(seconds)) return seconds * 1e3;
  const server = Date.parse(headers.get("date") ?? "");
  const wait = Date.parse(header) - (server || now);
  return Number.isNaN(wait) ? void 0 : Math.min(wait, server ? wait : 6e4);
}
async function refusal(response, now) {
  const { status, headers } = response;
  const body = await response.json().catch(() => null);
  const { code, message, param, limit, request_id, retry_after } = Object(Object(body).error);
  return new TokenError(/_quota$|^quota_/.test(`${code}`) ? "quota_exceeded" : codeOf(status), message, {
    status,
    retryAfterMs: retryAfter(headers, retry_after, now),
    requestId: headers.get("x-request-id") ?? request_id,
    brokerCode: code,
    param,
    limit
  });
}

// ../sdk/src/sources.ts
async function provided(value, code) {
  try {
    return await (typeof value === "function" ? value() : value);
  } catch (cause) {
    throw failure(cause, code);
  }
}
var below = ({ baseUrl = "" }, path) => baseUrl.replace(/\/$/, "") + path;
function fromBroker(options = {}) {
  const { tokenPath = "/token", refreshPath = "/refresh-token", credentials = "same-origin", clock = systemClock } = options;
  return async ({ previous, owner: before, signal, reason }) => {
    const headers = new Headers(await provided(options.headers, "unauthorized"));
    const owner = whom(headers.get("authorization"));
    const post = async (path, body) => {
      if (body) headers.set("content-type", "application/json");
      const response = await (options.fetch ?? fetch)(below(options, path), {
        method: "POST",
        headers,
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
      if (Object(answer) !== answer) throw invalid(`no JSON object but is ${response.headers.get("content-type")}`);
      return { ...answer, answeredAt: Date.parse(response.headers.get("date") ?? ""), owner };
    };
    const session_id = previous?.sessionId;
    if (session_id && (before === void 0 || before === owner)) {
      try {
        return await post(refreshPath, { session_id });
      } catch (error) {
        const { status, brokerCode } = error;
        const over = brokerCode === "refresh_limit_reached" || brokerCode === "refresh_too_soon" && reason === "invalidated";
        if (!over && !/^(401|404|410)$/.test(`${status}`)) throw error;
      }
    }
    return post(tokenPath, await provided(options.body, "bad_request"));
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
    logger: { warn: console.warn },
    ...defined(o)
  };
}

// ../sdk/src/attempts.ts
var LEAST_WAIT_MS = 1e3;
async function mint(settings2, context, warn, told) {
  const { clock, page } = settings2;
  const { signal } = context;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    told(attempt);
    const read = question(settings2, warn);
    const inner = new AbortController();
    const timer = clock.setTimeout(() => inner.abort(new TokenError("timeout")), settings2.timeoutMs);
    signal.addEventListener("abort", () => inner.abort());
    try {
      if (page?.navigator?.onLine === false) throw new TokenError("offline");
      return read(await Promise.race([settings2.source({ ...context, attempt, signal: inner.signal }), aborted(inner.signal)]));
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = failure(cause, "server_error");
      error.attempt = attempt;
      const asked = error.retryAfterMs;
      const again = error.retryable && attempt < settings2.maxAttempts && (asked ?? 0) <= settings2.maxRetryAfterMs;
      const own = Math.min(settings2.retryMaxMs, settings2.retryBaseMs * 2 ** (attempt - 1)) * (1 + settings2.random()) / 2;
      const wait = asked === void 0 ? own : Math.max(asked, LEAST_WAIT_MS);
      told(attempt, error, again ? wait : void 0);
      if (!again) throw error;
      await pause(clock, wait, signal, asked === void 0 ? page : void 0);
    } finally {
      clock.clearTimeout(timer);
    }
  }
}

// ../sdk/src/events.ts
function createListeners() {
  const entries = /* @__PURE__ */ new Map();
  return {
    on(type, listener, { once, signal } = {}) {
      const end = () => {
        entries.delete(end);
        signal?.removeEventListener("abort", end);
      };
      if (signal?.aborted) return end;
      signal?.addEventListener("abort", end);
      entries.set(end, [type, listener, once]);
      return end;
    },
    off(type, listener) {
      for (const [end, entry] of entries) if (entry[0] === type && entry[1] === listener) end();
    },
    emit(type, event) {
      for (const [end, [wanted, listener, once]] of [...entries]) {
        if (wanted !== type || !entries.has(end)) continue;
        if (once) end();
        try {
          listener(event);
        } catch (error) {
          (globalThis.reportError ?? console.error)(error);
        }
      }
    },
    clear() {
      for (const end of entries.keys()) end();
    }
  };
}

// ../sdk/src/flight.ts
function createFlight(work, deserted) {
  const controller = new AbortController();
  const { signal } = controller;
  const outcome = Promise.race([Promise.resolve(signal).then(work), aborted(signal)]);
  outcome.catch(() => {
  });
  let waiting = 0;
  const cancel = () => controller.abort();
  const join = (own) => new Promise((resolve, reject) => {
    waiting++;
    const leave = () => {
      reject();
      if (--waiting) return;
      cancel();
      deserted();
    };
    own?.addEventListener("abort", leave);
    outcome.finally(() => own?.removeEventListener("abort", leave)).then(resolve, reject);
  });
  return { join, cancel };
}

// ../sdk/src/presence.ts
var WAKES = ["visibilitychange", "pageshow", "pagehide", "focus", "resume", "online"];
function createPresence(settings2, changed) {
  let target;
  let usedAt = 0;
  let stopped = false;
  let cached = false;
  let holds = 0;
  let observers = 0;
  let deserted = false;
  let leaving;
  const desert = () => {
    deserted = !observers;
    changed();
  };
  const heard = ({ type }) => {
    if (type.startsWith("page")) cached = type === "pagehide";
    changed(type === "online");
  };
  const arrive = () => {
    if (target === void 0) {
      target = settings2().page ?? null;
      for (const type of WAKES) target?.addEventListener(type, heard, true);
    }
    if (deserted) {
      deserted = false;
      changed();
    }
  };
  return {
    resting() {
      const { autoRefresh, whenHidden, maxIdleMs, page, clock } = settings2();
      const hidden = cached || page?.document?.visibilityState === "hidden";
      if (!autoRefresh) return "disabled";
      if (stopped) return "paused";
      if (holds) return null;
      if (deserted || hidden && whenHidden === "pause") return "paused";
      return clock.monotonic() - usedAt > maxIdleMs ? "idle" : null;
    },
    used() {
      const { clock } = settings2();
      usedAt = clock.monotonic();
      clock.clearTimeout(leaving);
      arrive();
    },
    stop(next) {
      stopped = next;
      changed();
    },
    hold() {
      let held = 1;
      holds++;
      changed();
      const release2 = () => {
        holds -= held;
        held = 0;
        changed();
      };
      return { release: release2, [Symbol.dispose]: release2 };
    },
    observe() {
      let here = true;
      observers++;
      arrive();
      return () => {
        if (here && !--observers) leaving = settings2().clock.setTimeout(desert, 0);
        here = false;
      };
    },
    close() {
      for (const type of WAKES) target?.removeEventListener(type, heard, true);
      target = null;
    }
  };
}

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
function createTokenManager(given = {}) {
  let options = settings(given);
  const { on, off, emit, clear } = createListeners();
  let snapshot = IDLE;
  let held = null;
  let previous = null;
  let flight = null;
  let failed = null;
  let failureMs = 0;
  let sinceFailure = () => 0;
  let sinceMint = () => Infinity;
  let user = 0;
  let outcome = "idle";
  let progress = IDLE;
  let wanted = false;
  let why = "initial";
  let timer;
  const warned = /* @__PURE__ */ new Set();
  const { resting, used, stop, hold, observe, close: close2 } = createPresence(
    () => options,
    (online) => {
      expire();
      if (failed && (waits() <= 0 || online && !failed.status && !failed.retryAfterMs)) failed = null;
      check(online ? "online" : "resume");
    }
  );
  const warn = (message) => {
    if (warned.has(message)) return;
    warned.add(message);
    options.logger.warn?.(message);
  };
  const left = () => Math.max(held?.left() ?? 0, 0);
  const waits = (most = Infinity) => failed ? Math.min(failureMs, most) - sinceFailure() : 0;
  const phase = () => {
    if (flight) return progress.nextAttemptAt ? "backoff" : held ? "refreshing" : "requesting";
    if (previous && resting() === "paused") return "paused";
    return held ? "ready" : outcome;
  };
  const commit = (error = failed ?? (flight ? snapshot.error : null)) => {
    const token = held?.token ?? null;
    const next = {
      ...progress,
      phase: phase(),
      token,
      expiresAt: token?.expiresAt ?? null,
      refreshAt: held && !resting() ? held.token.expiresAt - held.leadMs : null,
      error
    };
    if (Object.entries(next).every(([key, value]) => value === snapshot[key])) return;
    snapshot = Object.freeze(next);
    emit("stateChange", snapshot);
  };
  const drop = (next) => {
    held = null;
    wanted = false;
    if (outcome !== "destroyed") outcome = next;
    commit();
  };
  const land = () => {
    flight = null;
    progress = IDLE;
  };
  const expire = () => {
    const ended = held;
    if (!ended || left() > 0) return;
    const cause = resting() ?? (failed || flight ? "refresh-failed" : "paused");
    drop("expired");
    wanted = true;
    emit("tokenExpired", { expiredAt: ended.token.expiresAt, lateByMs: -ended.left(), cause });
  };
  const due = (early = 0) => {
    const willing = wanted && (!failed || held && failed.retryable);
    if (!willing || flight || resting()) return Infinity;
    const lead = held ? Math.min(held.leadMs + early, held.token.lifetimeMs / 2) : 0;
    return Math.max(left() - lead, FLOOR_MS - sinceMint(), waits());
  };
  const check = (reason = "scheduled", early = 0) => {
    expire();
    if (due(early) <= 0) behind(reason);
    commit();
    const { clock } = options;
    clock.clearTimeout(timer);
    const next = Math.min(held?.left() ?? Infinity, due());
    if (next === Infinity) return;
    const asked = Math.ceil(Math.min(next, TICK_MS));
    const since = stopwatch(clock);
    timer = clock.setTimeout(() => check(void 0, Math.min(since() - asked, 6e4)), asked);
  };
  const told = (attempt, error, wait) => {
    const { clock } = options;
    const nextAttemptAt = wait === void 0 ? null : clock.wall() + wait;
    const willRetry = nextAttemptAt !== null;
    progress = { attempt, nextAttemptAt };
    if (error && !willRetry) {
      failed = error;
      failureMs = Math.max(error.retryAfterMs || SHARED_FAILURE_MS, LEAST_WAIT_MS);
      sinceFailure = stopwatch(clock);
      if (!held) outcome = "failed";
      wanted = true;
      land();
    }
    commit(error);
    if (!error) return;
    emit("tokenError", { error, attempt, willRetry, nextAttemptAt });
    check();
  };
  const fetchToken = async (reason, signal) => {
    const { clock } = options;
    const began = clock.monotonic();
    const next = await mint(options, { reason, previous: previous?.token ?? null, owner: previous?.owner, signal }, warn, told);
    signal.throwIfAborted();
    failed = why = null;
    wanted = true;
    sinceMint = stopwatch(clock);
    const longer = held && held.left() > next.left() && held.owner === next.owner ? held : null;
    if (longer) warn("The new token ends sooner: kept the old.");
    else held = previous = next;
    land();
    commit();
    if (!longer) emit("tokenRefreshed", { token: next.token, reason, latencyMs: clock.monotonic() - began });
    check();
    return longer ?? next;
  };
  const start = (reason) => {
    const mine = createFlight(
      (signal) => fetchToken(why ?? reason, signal),
      () => {
        if (flight !== mine) return;
        land();
        check();
      }
    );
    flight = mine;
    commit();
    return mine;
  };
  const behind = (reason) => {
    if (!flight) start(reason).join().catch(() => {
    });
  };
  const nextOr = (old, next) => {
    const enough = new AbortController();
    const { signal } = enough;
    if (progress.nextAttemptAt) enough.abort();
    on("tokenError", ({ willRetry }) => willRetry && enough.abort(), { signal });
    const late = pause(options.clock, left() > 5e3 ? left() - 5e3 : left() / 2, signal).then(() => old);
    return Promise.race([next, late]).finally(() => enough.abort());
  };
  const handOut = (from) => {
    if (--from.uses <= 0 && from === held) drop("idle");
    return from.token;
  };
  const get = async ({ force, minValidityMs, signal } = {}, usual = 5e3) => {
    used();
    for (; ; ) {
      if (outcome === "destroyed") throw new TokenError("destroyed");
      if (signal?.aborted) throw new TokenError("aborted", void 0, { cause: signal.reason });
      expire();
      const old = held;
      if (old && !force && left() > (minValidityMs ?? Math.min(usual, old.token.lifetimeMs / 2))) {
        if (left() <= old.leadMs && waits() <= 0 && sinceMint() >= FLOOR_MS) behind("demand");
        return handOut(old);
      }
      const asker = user;
      const modest = !force && minValidityMs === void 0;
      try {
        if (!flight && !force && failed && waits(LONGEST_SHARED_MS) > 0) throw failed;
        const next = (flight ?? start(force ? "forced" : "demand")).join(signal);
        const got = await (modest && old ? nextOr(old, next) : next);
        if (got.uses > 0 && asker === user && (got !== old || got === held)) return handOut(got);
      } catch (error) {
        if (asker !== user || signal?.aborted) continue;
        if (!modest || !held || !left()) throw error;
        return handOut(held);
      }
    }
  };
  const forget = (next) => {
    user++;
    flight?.cancel();
    land();
    previous = failed = null;
    why = "initial";
    drop(next);
  };
  const destroy = () => {
    close2();
    forget("destroyed");
    check();
    clear();
  };
  return {
    requestToken: (request) => get(request),
    refreshToken: (request) => get({ ...request, force: true }),
    getApiKey: async () => (await get({}, 3e4)).value,
    getSnapshot: () => snapshot,
    subscribe(listener) {
      const deaf = on("stateChange", listener);
      const gone = observe();
      return () => {
        gone();
        deaf();
      };
    },
    on,
    off,
    invalidate(reason = "invalidated") {
      options.logger.debug?.(reason);
      why = "invalidated";
      failed = null;
      drop("idle");
    },
    forget: () => forget("idle"),
    hold,
    pause: () => stop(true),
    resume: () => stop(false),
    updateOptions(more) {
      given = { ...given, ...more };
      options = settings(given);
      if (failed) {
        sinceMint = stopwatch(options.clock);
        failed = null;
        wanted = !!held;
      }
      check();
    },
    destroy,
    [Symbol.dispose]: destroy,
    getCurrentToken: () => held && left() ? held.token : null,
    isTokenValid: (minValidityMs = 0) => left() > minValidityMs,
    getTimeUntilExpiration: left,
    get urls() {
      const url = (path) => {
        const joined = below(given, path);
        return typeof location === "undefined" ? joined : new URL(joined, location.href).href;
      };
      return { token: url(given.tokenPath ?? "/token"), calls: url("/calls"), relay: url("/realtime").replace(/^http/, "ws") };
    }
  };
}

// ../sdk/src/registry.ts
var shared = /* @__PURE__ */ new Map();
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
var HINTS = {
  microphone_denied: "Allow the microphone in the settings of the page and connect again; it needs https or localhost.",
  microphone_missing: "No microphone can be used.",
  network: "No way to the other side: network, CORS or Content-Security-Policy.",
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
    super(message ?? HINTS[code], { cause: details.cause });
    this.name = "ConnectionError";
    this.code = code;
    this.hint = HINTS[code];
    this.status = details.status;
  }
};
var NOTHING = Object.freeze({ status: "disconnected", error: null, session: null, timings: {} });
var STABLE_MS = 3e4;
var YOUNG_MS = 1e4;
var Connection = class {
  /** May be replaced at any time; the next attempt uses it. */
  options;
  listeners = createListeners();
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
var unreached = (cause) => {
  throw new ConnectionError("network", void 0, { cause });
};
async function exchange(url, sdp, apiKey, signal, send) {
  const response = await send(url, {
    method: "POST",
    // These two only: another header would need a preflight that OpenAI refuses.
    headers: { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/sdp" },
    body: sdp,
    signal
  }).catch(unreached);
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
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
    const sdp = await unlessOver(response.text().catch(unreached));
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
