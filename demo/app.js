// Made by scripts/demo-build.sh from demo/src/app.ts; change that instead.
// src/about.ts
var BASE = new URL("..", import.meta.url);
async function readAbout() {
  const cautious = { mode: "serve", simulated: false, version: "", people: [] };
  const response = await fetch(new URL("demo/about", BASE), { cache: "no-store" });
  if (!response.ok) throw new Error(`/demo/about answered ${response.status}.`);
  return { ...cautious, ...await response.json() };
}

// src/dom.ts
function need(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found;
}
function make(name2, ...inside) {
  const [tag = "div", ...classes] = name2.split(".");
  const made2 = document.createElement(tag);
  if (classes.length) made2.className = classes.join(" ");
  made2.append(...inside);
  return made2;
}
function button(label, className, run) {
  const made2 = make("button", label);
  made2.type = "button";
  made2.className = className;
  made2.addEventListener("click", run);
  return made2;
}
function enable(control, does) {
  control.setAttribute("aria-disabled", `${!does}`);
}
var swallow = (event) => {
  if (!(event.target instanceof Element && event.target.closest('[aria-disabled="true"]'))) return;
  event.preventDefault();
  event.stopPropagation();
};
addEventListener("click", swallow, true);
function draw(tag, attributes, text2 = "") {
  const made2 = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name2, value] of Object.entries(attributes)) made2.setAttribute(name2, `${value}`);
  made2.textContent = text2;
  return made2;
}
function follow(list) {
  let follows = true;
  const go = () => {
    if (follows) list.scrollTop = list.scrollHeight;
  };
  list.addEventListener("scroll", () => {
    if (list.clientHeight) follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  });
  new ResizeObserver(go).observe(list);
  return go;
}
function write(element, text2) {
  if (element.textContent !== text2) element.textContent = text2;
}
function choice(fieldset, options, chosen, pick) {
  for (const [value, label, title = ""] of options) {
    const input = make("input");
    Object.assign(input, { type: "radio", name: fieldset.id, value, checked: value === chosen });
    input.addEventListener("change", () => pick(value));
    const whole2 = make("label", input, make("span", label));
    whole2.title = title;
    fieldset.append(whole2);
  }
}

// src/chaos.ts
var HOUR = 36e5;
var NAP = 6e5;
var LID_MS = 2500;
var FAILED = { status: 500, code: "internal" };
function faults({ clock, page, wire }, desk, model) {
  const refresh = () => void desk.tokens.refreshToken().catch(() => {
  });
  const answer = (...next) => {
    wire.faults.splice(0, Infinity, ...next);
    refresh();
  };
  const offline = (is) => {
    wire.offline = is;
    page.offline = is;
  };
  const set = (ms) => {
    clock.set(ms);
    page.wake();
  };
  return [
    {
      label: "Offline",
      broken: "The network is gone; a refresh is asked for.",
      mended: "The network is back.",
      start: () => (offline(true), refresh()),
      end: () => offline(false)
    },
    {
      label: "429",
      answers: true,
      broken: "The next answer is 429, Retry-After 3.",
      start: () => answer({ status: 429, code: "rate_limited", retryAfterSeconds: 3 })
    },
    { label: "500", answers: true, broken: "The next two answers are 500.", start: () => answer(FAILED, FAILED) },
    { label: "401", answers: true, broken: "The next answer is 401.", start: () => answer({ status: 401, code: "unauthorized" }) },
    {
      label: "Clock +1 h",
      broken: "The clock of this device is set an hour ahead.",
      mended: "The clock is set back.",
      start: () => set(HOUR),
      end: () => set(-HOUR)
    },
    {
      label: "TTL 20 s",
      broken: "From now on answers say 20 s.",
      mended: "Answers say the truth again.",
      start: () => {
        wire.lifetime = 20;
        desk.tokens.invalidate("the answers say 20 s from now on");
        refresh();
      },
      end: () => void (wire.lifetime = null)
    },
    {
      label: "Sleep",
      broken: "The lid is closed for ten minutes.",
      start: () => {
        clock.sleep();
        setTimeout(() => {
          clock.wake(NAP);
          page.wake();
        }, LID_MS);
      }
    },
    ...model ? [{ label: "Hang up", broken: "The other side drops the call.", start: () => model.hangUp() }] : []
  ];
}
function chaosBar({ desk, lab, log, lives, outcome, model }) {
  const answered2 = [];
  for (const chaos of faults(lab, desk, model)) {
    let on = false;
    const press = () => {
      const mends = on && chaos.mended;
      const what = mends || chaos.broken;
      log.add({ from: "page", text: what, tone: "chaos" });
      lives.broke(mends ? `${chaos.label} off` : chaos.label);
      outcome.begin(what);
      if (chaos.end) {
        on = !on;
        control.setAttribute("aria-pressed", `${on}`);
      }
      if (mends) chaos.end?.();
      else chaos.start();
      for (const one of answered2) enable(one, !lab.wire.offline);
    };
    const control = button(chaos.label, "button fault", press);
    control.title = chaos.broken;
    if (chaos.end) control.setAttribute("aria-pressed", "false");
    control.name = chaos.label.toLowerCase().split(" ")[0] ?? "";
    if (control.name === "hang") control.id = "hang-up";
    if (chaos.answers) answered2.push(control);
    need("chaos").append(control);
  }
}

// sample:agents.ts
var agents_default = "import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';\nimport { createTokenManager, withFreshKey } from '@realtime-token-broker/client';\n\nconst tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });\nconst agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });\n// The microphone before the key: a prompt can stay open longer than a key lives.\nconst mediaStream = await navigator.mediaDevices.getUserMedia({ audio: true });\nconst session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebRTC({ mediaStream }) });\n\nawait withFreshKey(tokens, () => session.connect({ apiKey: tokens.getApiKey }));\n";

// sample:react.tsx
var react_default = "import { createTokenManager } from '@realtime-token-broker/client';\nimport { useRealtimeConnection } from '@realtime-token-broker/client/react';\nimport { openCall } from '@realtime-token-broker/client/webrtc';\n\nconst tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });\n\nexport function VoiceAgent() {\n  const { status, error, connect, disconnect } = useRealtimeConnection({\n    tokens,\n    connect: (context) => openCall(context, {}, (event) => console.log(event.type)),\n  });\n  return (\n    <button onClick={status === 'connected' ? disconnect : connect} title={error?.message}>\n      {status}\n    </button>\n  );\n}\n";

// sample:vanilla.ts
var vanilla_default = "import { createTokenManager } from '@realtime-token-broker/client';\nimport { createRealtimeConnection } from '@realtime-token-broker/client/webrtc';\n\nconst tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });\nconst call = createRealtimeConnection({ tokens });\n\ncall.on('event', (event) => console.log(event.type));\ntokens.on('tokenError', ({ error }) => console.warn(error.code, error.hint));\n\n// From a click, so that the page may ask for the microphone and play sound.\ndocument.querySelector('button')?.addEventListener('click', () => call.connect());\n";

// src/code.ts
var SAMPLES = [
  [
    "In any page",
    "The microphone first, then the secret, then the call. The manager keeps the secret fresh; the call asks for it whenever it connects.",
    vanilla_default
  ],
  [
    "In React",
    "One manager for the page, made outside of components. The status comes from the call alone: a secret that expires ends nothing.",
    react_default
  ],
  [
    "With agents-js",
    "Give the SDK the function instead of a string, and every connect gets a secret that is still good.",
    agents_default
  ]
];
var PARTS = /(\/\/[^\n]*)|('[^'\n]*'|`[^`]*`)|\b(import|from|const|await|async|export|function|return|new)\b/g;
var KINDS = ["comment", "string", "word"];
function coloured(text2) {
  const parts = [];
  let at = 0;
  for (const match of text2.matchAll(PARTS)) {
    const kind = KINDS[match.slice(1).findIndex(Boolean)] ?? "word";
    parts.push(text2.slice(at, match.index), make(`span.${kind}`, match[0]));
    at = match.index + match[0].length;
  }
  return [...parts, text2.slice(at)];
}
function showCode() {
  for (const [title, why, text2] of SAMPLES) {
    const copy = button("Copy", "button quiet", () => {
      void navigator.clipboard.writeText(text2).then(() => {
        write(copy, "Copied");
        setTimeout(() => write(copy, "Copy"), 2e3);
      });
    });
    copy.setAttribute("aria-label", `Copy: ${title}`);
    const lines = make("pre", make("code", ...coloured(text2)));
    lines.tabIndex = 0;
    lines.setAttribute("aria-label", title);
    const head = make("header", make("h2", title), copy);
    need("code").append(make("section.card", head, make("p.hint", why), lines));
  }
}

// src/desk.ts
import { createTokenManager } from "./sdk.js";

// src/signal.ts
var Signal = class {
  #listeners = /* @__PURE__ */ new Set();
  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  tell(value) {
    for (const listener of [...this.#listeners]) listener(value);
  }
};

// src/desk.ts
var Desk = class {
  told = new Signal();
  changed = new Signal();
  #lab;
  #person = null;
  #tokens;
  constructor(lab) {
    this.#lab = lab;
    this.#tokens = this.#open();
  }
  get tokens() {
    return this.#tokens;
  }
  get person() {
    return this.#person;
  }
  /** The wall clock that the client sees. */
  wall() {
    return this.#lab.clock.wall();
  }
  /** A session belongs to one identity, so another person gets a manager of their own. */
  signIn(person) {
    this.#tokens.destroy();
    this.#person = person;
    this.#tokens = this.#open();
    this.changed.tell(this.#tokens.getSnapshot());
  }
  /** What is sent to say who asks. */
  credential = () => this.#person ? { authorization: `Bearer ${this.#person.bearer}` } : {};
  #open() {
    const { clock, page, wire } = this.#lab;
    const tokens = createTokenManager({
      baseUrl: BASE.href,
      headers: this.credential,
      fetch: wire.fetch,
      clock,
      eventTarget: page
    });
    tokens.on("stateChange", (snapshot) => this.changed.tell(snapshot));
    tokens.on("tokenRefreshed", (event) => this.told.tell({ type: "tokenRefreshed", ...event }));
    tokens.on("tokenExpired", (event) => this.told.tell({ type: "tokenExpired", ...event }));
    tokens.on("tokenError", (event) => this.told.tell({ type: "tokenError", ...event }));
    return tokens;
  }
};

// src/words.ts
var REASONS = {
  initial: "the first one",
  scheduled: "on schedule",
  forced: "on request",
  demand: "was needed",
  resume: "woke up",
  online: "back online",
  invalidated: "replaced"
};
var CAUSES = {
  "refresh-failed": "no refresh succeeded",
  paused: "no refresh while paused",
  idle: "nobody asked for long",
  disabled: "refreshes are off"
};
function span(ms) {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1e3).toFixed(1)} s`;
  if (ms < 99500) return `${Math.round(ms / 1e3)} s`;
  return `${Math.round(ms / 6e4)} min`;
}
function wait(ms) {
  const seconds = Math.max(Math.ceil(ms / 1e3), 0);
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6e3) return `${Math.ceil(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.ceil(seconds / 3600)} h` : `${Math.ceil(seconds / 86400)} d`;
}
function countdown(ms) {
  const seconds = Math.ceil(ms / 1e3);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, "0")}`;
}
function tail(masked) {
  return `…${masked.slice(-4)}`;
}

// src/diary.ts
function keepDiary(desk, wire, log) {
  wire.heard.on((reading) => log.add({ from: "broker", ...answered(reading), held: reading }));
  desk.told.on((event) => log.add({ from: "secret", ...told(event, desk.wall()) }));
}
function answered({ path, status, tookMs, code, limit, made: made2 }) {
  const text2 = `${[status, path, code, limit].filter(Boolean).join(" ")}, ${made2 ? "made up" : span(tookMs)}`;
  return status < 400 ? { text: text2 } : { text: text2, tone: "warn" };
}
function told(event, now) {
  if (event.type === "tokenRefreshed") {
    const { token, reason, latencyMs } = event;
    return { text: `${tail(token.masked)} for ${span(token.lifetimeMs)}, ${REASONS[reason]}`, tone: "good", held: { reason, latencyMs, token } };
  }
  if (event.type === "tokenExpired") return { text: `expired: ${CAUSES[event.cause]}`, tone: "bad", held: event };
  const { error, attempt, willRetry, nextAttemptAt } = event;
  const { code, message, hint, status, brokerCode, retryAfterMs, requestId } = error;
  const next = willRetry ? `attempt ${attempt + 1} in ${span(Math.max((nextAttemptAt ?? now) - now, 0))}` : "gives up";
  const tone = willRetry ? "warn" : "bad";
  return { text: `${code}, attempt ${attempt}; ${next}`, tone, held: { code, message, hint, status, brokerCode, retryAfterMs, requestId } };
}

// src/falls.ts
var SECRET = ["round trip", "in the broker", "upstream"];
var CALL = ["microphone", "client secret", "offer and answer", "channel opens", "first sound"];
var Falls = class {
  #secret = make("ol.fall");
  #call = make("ol.fall");
  #bars = [];
  #openAt = null;
  constructor(wire) {
    need("falls").append(group("A client secret", this.#secret), group("A call", this.#call));
    this.#show(this.#secret, SECRET.map((name2) => [name2, 0, null]));
    this.#show(this.#call, CALL.map((name2) => [name2, 0, null]));
    wire.heard.on((reading) => this.#request(reading));
  }
  #request({ made: made2, status, tookMs, totalMs, upstreamMs, path }) {
    if (made2 || status >= 400 || totalMs === void 0) return;
    const way = (tookMs - totalMs) / 2;
    const inside = (totalMs - (upstreamMs ?? 0)) / 2;
    this.#show(this.#secret, [
      [SECRET[0], 0, tookMs],
      [SECRET[1], way, totalMs],
      [SECRET[2], way + inside, upstreamMs ?? null]
    ]);
    write(need("latency-hint"), `last: ${path}, by Server-Timing`);
  }
  /** A call is up. */
  call({ microphone = 0, key = 0, sdp, open: open2 }) {
    let at = 0;
    this.#bars = [microphone, key, sdp, open2, null].map((ms, n) => [`${CALL[n]}`, (at += ms ?? 0) - (ms ?? 0), ms]);
    this.#openAt = performance.now();
    this.#show(this.#call, this.#bars);
  }
  /** The model begins to speak. */
  spoken() {
    if (this.#openAt === null) return;
    const last = this.#bars.pop();
    if (last) this.#bars.push([last[0], last[1], Math.max(performance.now() - this.#openAt, 0.1)]);
    this.#openAt = null;
    this.#show(this.#call, this.#bars);
  }
  #show(list, bars) {
    const whole2 = Math.max(...bars.map(([, from, ms]) => from + (ms ?? 0)), 1e-3);
    const rows = bars.map(([name2, from, ms]) => {
      const fill = make("span.fill");
      fill.hidden = ms === null;
      fill.style.setProperty("--from", `${from / whole2 * 100}%`);
      fill.style.setProperty("--long", `${(ms ?? 0) / whole2 * 100}%`);
      return make("li", make("span.name", name2), make("span.track", fill), make("span.value", ms === null ? "–" : span(ms)));
    });
    list.replaceChildren(...rows);
  }
};
function group(title, list) {
  return make("div", make("h3", title), list);
}

// src/guards.ts
var MOST = 40;
var KNOCK_MS = 1050;
var Guards = class {
  #desk;
  #wire;
  #log;
  #rows;
  #busy = false;
  #who = null;
  constructor(desk, wire, log) {
    this.#desk = desk;
    this.#wire = wire;
    this.#log = log;
    this.#rows = { token: row("New sessions"), refresh: row("Refreshes"), block: row("Block", "none"), quota: row("Quota", "–") };
    need("guards").hidden = false;
    wire.heard.on((reading) => this.#hear(reading));
    need("spend").addEventListener("click", () => void this.#ask("Asks until it is refused", 0));
    need("knock").addEventListener("click", () => void this.#ask("Goes on asking when it is refused", KNOCK_MS));
    desk.changed.on(() => this.#person());
    this.#person();
    setInterval(() => this.#show(), 500);
  }
  #person() {
    const { person } = this.#desk;
    const { quota } = this.#rows;
    if (this.#who !== person) quota.until = 0;
    this.#who = person;
    quota.rest = person ? `${person.name}'s: nothing refused` : "for people only: sign in";
  }
  #hear({ made: made2, path, window, code, retryAfterSeconds = 0 }) {
    if (made2) return;
    const now = performance.now();
    if (window) {
      const row2 = this.#rows[path === "/token" ? "token" : "refresh"];
      const { limit, left, resetSeconds } = window;
      const until = now + resetSeconds * 1e3;
      Object.assign(row2, { rest: `${limit} of ${limit} left`, told: `${left} of ${limit} left`, until, share: left / limit, whole: 1 });
      row2.value.dataset["tone"] = left ? "good" : "bad";
    }
    if (code === "blocked") this.#refused("block", "blocked", now + retryAfterSeconds * 1e3);
    if (code === "quota_exceeded") this.#refused("quota", "used up", now + retryAfterSeconds * 1e3);
    this.#show();
  }
  #refused(guard, told2, until) {
    Object.assign(this.#rows[guard], { told: told2, until });
    this.#rows[guard].value.dataset["tone"] = "bad";
  }
  #show() {
    const now = performance.now();
    for (const { value, gauge, share, whole: whole2, until, rest, told: told2 } of Object.values(this.#rows)) {
      const left = until - now;
      if (left <= 0) value.dataset["tone"] = "good";
      write(value, left > 0 ? `${told2} · ${wait(left)}` : rest);
      gauge?.style.setProperty("--long", `${(left > 0 ? share : whole2) * 100}%`);
    }
  }
  /** Asks for sessions, without the client, until the first refusal, or with a pause after each until it is blocked. */
  async #ask(what, pauseMs) {
    if (this.#busy) return;
    this.#busy = true;
    this.#log.add({ from: "page", text: `${what}, without the client.`, tone: "chaos" });
    for (const id of ["spend", "knock"]) enable(need(id), false);
    let last = null;
    const off = this.#wire.heard.on((reading) => last = reading);
    for (let n = 0; n < MOST; n++) {
      await this.#wire.fetch(new URL("token", BASE), { method: "POST", headers: this.#desk.credential() }).catch(() => null);
      const told2 = last;
      const refused = told2 !== null && told2.status >= 400;
      if (!told2 || told2.code === "blocked" || refused && !pauseMs) break;
      if (refused) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    off();
    for (const id of ["spend", "knock"]) enable(need(id), true);
    this.#busy = false;
  }
};
function row(name2, rest = "") {
  const value = make("dd");
  const gauge = rest ? null : make("span.fill");
  need("limits").append(make("div", make("dt", name2), value, ...gauge ? [make("dd.track", gauge)] : []));
  return { value, gauge, share: 0, whole: 0, until: 0, rest: rest || "not seen yet", told: "" };
}

// src/health.ts
var EVERY_MS = 15e3;
function watchHealth(upstream) {
  const look = async () => {
    if (document.visibilityState === "hidden") return;
    const response = await fetch(new URL("health", BASE), { cache: "no-store" }).catch(() => null);
    const health = await response?.json().catch(() => null);
    const tone = health?.status === "healthy" ? "good" : health?.status === "degraded" ? "warn" : "bad";
    need("lamp").dataset["tone"] = tone;
    write(need("health"), `Broker ${health?.status ?? "unreachable"} · ${upstream}`);
  };
  void look();
  setInterval(() => void look(), EVERY_MS);
  document.addEventListener("visibilitychange", () => void look());
}

// src/lab-clock.ts
var LabClock = class {
  #ahead = 0;
  #slept = 0;
  #asleepSince = null;
  #late = /* @__PURE__ */ new Map();
  wall() {
    return Date.now() + this.#ahead;
  }
  monotonic() {
    return (this.#asleepSince ?? performance.now()) - this.#slept;
  }
  setTimeout(run, ms) {
    const timer = setTimeout(() => {
      if (this.#asleepSince === null) run();
      else this.#late.set(timer, run);
    }, ms);
    return timer;
  }
  clearTimeout(timer) {
    clearTimeout(timer);
    this.#late.delete(timer);
  }
  /** Somebody sets the wall clock by `ms`, forward or back. */
  set(ms) {
    this.#ahead += ms;
  }
  /** The lid closes: no timer runs, and the monotonic clock stands still. */
  sleep() {
    this.#asleepSince = performance.now();
  }
  /** The lid opens `ms` later by the wall clock, whatever time really passed. */
  wake(ms) {
    const passed = performance.now() - (this.#asleepSince ?? performance.now());
    this.#slept += passed;
    this.#ahead += ms - passed;
    this.#asleepSince = null;
    const late = [...this.#late.values()];
    this.#late.clear();
    for (const run of late) run();
  }
};

// src/lab-page.ts
var HEARD = ["visibilitychange", "pageshow", "pagehide", "focus", "resume", "online", "offline"];
var LabPage = class extends EventTarget {
  #offline = false;
  document = document;
  navigator;
  constructor() {
    super();
    const offline = () => this.#offline;
    this.navigator = {
      get onLine() {
        return navigator.onLine && !offline();
      }
    };
    for (const type of HEARD) addEventListener(type, () => this.dispatchEvent(new Event(type)), true);
  }
  get offline() {
    return this.#offline;
  }
  set offline(offline) {
    this.#offline = offline;
    this.dispatchEvent(new Event(offline ? "offline" : "online"));
  }
  /** The machine came back from sleep, or somebody looks at the page again. */
  wake() {
    this.dispatchEvent(new Event("resume"));
  }
};

// src/lives.ts
var PAST = 90;
var FUTURE = 60;
var NAME = 44;
var LANE = { top: 20, height: 18, step: 24 };
var Lives = class {
  #svg = need("lives");
  #desk;
  #lives = [];
  #marks = [];
  constructor(desk) {
    this.#desk = desk;
    desk.told.on((event) => this.#hear(event));
    desk.changed.on(({ token }) => {
      if (!token) this.#end();
      this.#draw();
    });
    new ResizeObserver(() => this.#draw()).observe(this.#svg);
    setInterval(() => this.#draw(), 1e3);
  }
  /** Something was broken on purpose. */
  broke(text2) {
    this.#marks.push({ at: performance.now(), text: text2 });
    this.#draw();
  }
  #hear(event) {
    const now = performance.now();
    if (event.type === "tokenError") this.#marks.push({ at: now, text: "" });
    if (event.type === "tokenRefreshed") {
      this.#end();
      const { refreshAt, expiresAt } = this.#desk.tokens.getSnapshot();
      const until = now + this.#desk.tokens.getTimeUntilExpiration();
      const lead = (expiresAt ?? 0) - (refreshAt ?? expiresAt ?? 0);
      this.#lives.push({ name: tail(event.token.masked), from: now, until, left: null, refreshAt: until - lead });
    }
    this.#draw();
  }
  #end() {
    const last = this.#lives.at(-1);
    if (last) last.left ??= performance.now();
  }
  #draw() {
    const width = this.#svg.clientWidth;
    if (!width || document.visibilityState === "hidden") return;
    const now = performance.now();
    const x = (at) => ((at - now) / 1e3 + PAST) * (width / (PAST + FUTURE));
    this.#lives = this.#lives.filter(({ until }) => x(until) > -200);
    this.#marks = this.#marks.filter(({ at }) => x(at) > -50);
    const lane = (index) => LANE.top + index % 2 * LANE.step;
    const parts = [...axis(x, now, width)];
    this.#lives.forEach((life, index) => parts.push(...bar(life, x, lane(index))));
    let free = Infinity;
    for (const { at, text: text2 } of [...this.#marks].reverse()) {
      const fits = x(at) + 14 + text2.length * 7 < free;
      if (text2) free = x(at) - 6;
      parts.push(...mark(x(at), text2, fits));
    }
    parts.push(draw("path", { class: "now", d: `M${x(now)} 12V78` }));
    parts.push(draw("text", { class: "now-text", x: x(now), y: 9, "text-anchor": "middle" }, "now"));
    this.#svg.replaceChildren(...parts);
  }
};
var FAILED2 = 68;
var BROKEN = 82;
function mark(x, text2, fits) {
  if (!text2) return [draw("path", { class: "failed", d: `M${x - 3} ${FAILED2}l6 6m0-6l-6 6` })];
  return [
    draw("path", { class: "broken", d: `M${x} ${BROKEN}l5 9h-10z` }),
    draw("text", { class: "broken-text", x: x + 9, y: BROKEN + 9 }, fits ? text2 : "")
  ];
}
function axis(x, now, width) {
  return [-60, -30, 30].flatMap((seconds) => {
    const at = x(now + seconds * 1e3);
    const label = width < 500 && seconds % 60 ? "" : `${seconds > 0 ? "+" : "−"}${Math.abs(seconds)} s`;
    return [
      draw("path", { class: "grid", d: `M${at} 14V78` }),
      draw("text", { class: "grid-text", x: at, y: 9, "text-anchor": "middle" }, label)
    ];
  });
}
function bar({ name: name2, from, until, left, refreshAt }, x, y) {
  const rect = (kind, start2, end) => draw("rect", { class: kind, x: x(start2), y, width: Math.max(x(end) - x(start2), 2), height: LANE.height, rx: 4 });
  const used = left ?? until;
  const parts = [rect("life-rest", from, until), rect(left ? "life past" : "life", from, Math.min(used, until))];
  if (!left) parts.push(draw("path", { class: "life-refresh", d: `M${x(refreshAt)} ${y - 2}v${LANE.height + 4}` }));
  const room = x(used) - NAME;
  const isCrossed = !left && x(refreshAt) > room && x(refreshAt) < x(used) - 3;
  if (room > Math.max(x(from), 0) && !isCrossed) {
    const kind = left ? "life-text past" : "life-text";
    parts.push(draw("text", { class: kind, x: x(used) - 7, y: y + 13, "text-anchor": "end" }, name2));
  }
  return parts;
}

// src/replies.ts
var GREETING = "Hello! I am not a model, only a second peer in this page that plays one. Ask me about the secret, the call or the price.";
var KNOWN = [
  [
    /key|secret|token|ttl|expire|refresh/i,
    "A client secret opens a call until it expires. The ring shows what is left of it, the mark when the next one is fetched. A call that is up does not need it any more."
  ],
  [/call|audio|hear|microphone|voice|rtc/i, "Your sound really travels: it is encoded, sent to another peer, and measured there. That is how I notice that you speak."],
  [/price|cost|pay|free|bill/i, "I cost nothing. A real model bills by the minute of sound, which is why the broker counts who may start a call, and how often."],
  [/chaos|break|offline|429|500|401|sleep|clock/i, "Go on, press a button of the chaos bar. The secret may change three times, and you will still hear me."],
  [/hello|hi\b|hola|hey/i, "Hello to you. Shall I tell you about the secret, the call or the price?"]
];
var HEARD2 = ["I heard you, though I understand only what is typed.", "That was you. I measure loudness; meaning is for real models."];
function reply(words, turn) {
  if (words === null) return HEARD2[turn % HEARD2.length] ?? GREETING;
  return KNOWN.find(([about]) => about.test(words))?.[1] ?? "I know about the secret, the call and the price. For everything else, start the broker with an API key of your own.";
}

// src/local-model.ts
import { createLevelMeter } from "./sdk.js";

// src/voice.ts
var VOWELS = [[730, 1090], [530, 1840], [390, 1990], [570, 840], [440, 1020]];
var SYLLABLE_MS = 150;
var Voice = class {
  stream;
  #context = new AudioContext();
  #source;
  #formants;
  #gain;
  #pitch;
  constructor(pitch) {
    const context = this.#context;
    const out = context.createMediaStreamDestination();
    this.#pitch = pitch;
    this.#source = new OscillatorNode(context, { type: "sawtooth", frequency: pitch });
    this.#gain = new GainNode(context, { gain: 0 });
    this.#formants = [6, 9].map((Q) => new BiquadFilterNode(context, { type: "bandpass", Q }));
    for (const formant of this.#formants) this.#source.connect(formant).connect(this.#gain);
    this.#gain.connect(out);
    this.#source.start();
    this.stream = out.stream;
  }
  /** Says as many syllables, and answers with how long that takes, in milliseconds. */
  say(syllables2) {
    void this.#context.resume();
    this.hush();
    const start2 = this.#context.currentTime + 0.02;
    const step = SYLLABLE_MS / 1e3;
    for (let n = 0; n < syllables2; n++) {
      const at = start2 + n * step;
      const vowel = VOWELS[(n * 7 + syllables2) % VOWELS.length] ?? VOWELS[0];
      this.#formants.forEach((formant, k) => formant.frequency.setTargetAtTime(vowel[k] ?? 800, at, 0.02));
      this.#source.frequency.setTargetAtTime(this.#pitch * (1.12 - 0.24 * n / syllables2 + 0.05 * Math.sin(n * 2.1)), at, 0.04);
      this.#gain.gain.setTargetAtTime(n % 6 === 5 ? 0.1 : 0.7, at, 0.018);
      this.#gain.gain.setTargetAtTime(0.02, at + step * 0.7, 0.03);
    }
    this.#gain.gain.setTargetAtTime(0, start2 + syllables2 * step, 0.02);
    return syllables2 * SYLLABLE_MS;
  }
  hush() {
    this.#gain.gain.cancelScheduledValues(0);
    this.#gain.gain.setTargetAtTime(0, this.#context.currentTime, 0.015);
  }
  close() {
    void this.#context.close();
  }
};
function syllables(text2) {
  return text2.match(/[aeiouy]+/gi)?.length ?? 1;
}

// src/local-model.ts
var SILENCE_MS = 500;
var THINK_MS = 280;
var LOUD = 0.07;
var SPEECH_MS = 150;
var EAR_MS = 50;
var LocalCall = class {
  #peer = new RTCPeerConnection();
  #voice = new Voice(185);
  #audio = new Audio();
  #channel = null;
  #meter = null;
  #ear;
  #words;
  #speaking = null;
  #heardSince = null;
  #heardAt = 0;
  #loudMs = 0;
  #turn = 0;
  #closed = false;
  #born = performance.now();
  async answer(offer) {
    const peer = this.#peer;
    peer.ondatachannel = ({ channel }) => this.#open(channel);
    peer.ontrack = ({ track }) => this.#listen(new MediaStream([track]));
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    for (const track of this.#voice.stream.getTracks()) peer.addTrack(track, this.#voice.stream);
    await peer.setLocalDescription();
    if (peer.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && resolve();
        setTimeout(resolve, 1e3);
      });
    }
    return peer.localDescription?.sdp ?? "";
  }
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ear);
    clearTimeout(this.#words);
    this.#meter?.close();
    this.#voice.close();
    this.#audio.srcObject = null;
    this.#channel?.close();
    this.#peer.close();
  }
  #open(channel) {
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#told(JSON.parse(`${data}`));
    channel.onclose = () => this.close();
    const begin = () => {
      const session = { type: "realtime", id: "sess_local", model: "local stand-in", expires_at: Math.floor(Date.now() / 1e3) + 3600 };
      this.#send("session.created", { session });
      this.#say(GREETING);
    };
    if (channel.readyState === "open") begin();
    else channel.onopen = begin;
  }
  #listen(stream) {
    this.#audio.srcObject = stream;
    this.#audio.muted = true;
    void this.#audio.play().catch(() => {
    });
    this.#meter = createLevelMeter(stream);
    this.#ear = setInterval(() => this.#hark(), EAR_MS);
  }
  #hark() {
    const now = performance.now();
    const at = Math.round(now - this.#born);
    const loud = (this.#meter?.read() ?? 0) > LOUD;
    this.#loudMs = loud ? this.#loudMs + EAR_MS : 0;
    if (loud) {
      this.#heardAt = now;
      if (this.#heardSince === null && this.#loudMs >= SPEECH_MS) {
        this.#heardSince = at - SPEECH_MS;
        this.#interrupt();
        this.#send("input_audio_buffer.speech_started", { audio_start_ms: at });
      }
    } else if (this.#heardSince !== null && now - this.#heardAt > SILENCE_MS) {
      this.#send("input_audio_buffer.speech_stopped", { audio_start_ms: this.#heardSince, audio_end_ms: at - SILENCE_MS });
      this.#heardSince = null;
      this.#soon(null);
    }
  }
  #told(event) {
    const item = event["item"];
    if (event.type === "conversation.item.create" && item) {
      this.#send("conversation.item.added", { item });
      const words = item.content?.[0]?.text ?? "";
      this.#soon(words);
    }
  }
  /** Takes a moment to think. */
  #soon(words) {
    this.#interrupt();
    this.#words = setTimeout(() => this.#say(reply(words, this.#turn++)), THINK_MS);
  }
  #say(text2) {
    const id = `${Math.random().toString(36).slice(2, 8)}`;
    const [response, item] = [`resp_${id}`, `item_${id}`];
    this.#speaking = { response, item };
    this.#send("response.created", { response: { id: response, status: "in_progress" } });
    this.#send("output_audio_buffer.started", { response_id: response });
    const words = text2.split(/(?<= )/);
    const step = this.#voice.say(syllables(text2)) / words.length;
    const next = (n) => {
      const delta = words[n];
      if (delta === void 0) return this.#finish(text2);
      this.#send("response.output_audio_transcript.delta", { response_id: response, item_id: item, delta });
      this.#words = setTimeout(() => next(n + 1), step);
    };
    next(0);
  }
  #finish(transcript) {
    if (!this.#speaking) return;
    const { response, item } = this.#speaking;
    this.#speaking = null;
    this.#send("response.output_audio_transcript.done", { response_id: response, item_id: item, transcript });
    this.#send("output_audio_buffer.stopped", { response_id: response });
    this.#send("response.done", { response: { id: response, status: "completed" } });
  }
  #interrupt() {
    clearTimeout(this.#words);
    if (!this.#speaking) return;
    const { response } = this.#speaking;
    this.#speaking = null;
    this.#voice.hush();
    this.#send("output_audio_buffer.cleared", { response_id: response });
    this.#send("response.done", { response: { id: response, status: "cancelled" } });
  }
  #send(type, fields) {
    const event_id = `event_${Math.random().toString(36).slice(2, 10)}`;
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify({ type, event_id, ...fields }));
  }
};
var LocalModel = class {
  #call = null;
  /** Takes an offer as `fetch` would, and answers it. */
  fetch = async (_, init) => {
    init?.signal?.throwIfAborted();
    this.#call?.close();
    const call = this.#call = new LocalCall();
    init?.signal?.addEventListener("abort", () => call.close());
    const sdp = await call.answer(`${init?.body}`);
    return new Response(sdp, { status: 201, headers: { "content-type": "application/sdp", location: "/v1/realtime/calls/rtc_local" } });
  };
  hangUp() {
    this.#call?.close();
    this.#call = null;
  }
};

// src/log.ts
var NAMES = { secret: "Secret", broker: "Broker", call: "Call", model: "Model", page: "You" };
var MOST2 = 400;
var EventLog = class {
  #list = need("log");
  #follow = follow(this.#list);
  #lines = [];
  #waiting = null;
  constructor() {
    for (const [from, name2] of Object.entries(NAMES)) {
      const chip = button(name2, "chip", () => {
        const hidden = this.#list.classList.toggle(`without-${from}`);
        chip.setAttribute("aria-pressed", `${!hidden}`);
      });
      chip.setAttribute("aria-pressed", "true");
      need("filters").append(chip);
    }
    need("log-pause").addEventListener("click", () => this.#pause());
    need("log-export").addEventListener("click", () => this.#export());
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
    this.#count();
  }
  add(entry, at = /* @__PURE__ */ new Date()) {
    if (this.#waiting) {
      if (this.#waiting.length < MOST2) this.#waiting.push([entry, at]);
      return this.#count();
    }
    const last = this.#lines.at(-1);
    if (last && last.from === entry.from && last.text === entry.text) this.#repeat(last, entry);
    else this.#append(entry, at);
    this.#follow();
    this.#count();
  }
  #append(entry, at) {
    const item = make("li");
    item.dataset["from"] = entry.from;
    if (entry.tone) item.dataset["tone"] = entry.tone;
    const head = [since(at), make("b", NAMES[entry.from]), make("span.text", ...breakable(entry.text)), make("span.times")];
    if (entry.held === void 0) item.append(make("p", ...head));
    else {
      const summary = make("summary", ...head);
      summary.tabIndex = -1;
      const details = make("details", summary);
      details.addEventListener("toggle", () => open(details, line.held), { once: true });
      item.append(details);
    }
    const line = { ...entry, at, count: 1, item };
    this.#lines.push(line);
    this.#list.append(item);
    if (this.#lines.length > MOST2) this.#lines.shift()?.item.remove();
  }
  #repeat(line, entry) {
    line.count++;
    line.held = entry.held;
    const times = line.item.querySelector(".times");
    if (times) write(times, `×${line.count}`);
  }
  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const stops = [...this.#list.querySelectorAll("summary")].filter((summary) => summary.checkVisibility());
    const at = stops.indexOf(document.activeElement);
    stops.at(at < 0 ? step < 0 ? -1 : 0 : Math.min(Math.max(at + step, 0), stops.length - 1))?.focus();
  }
  #pause() {
    const waiting = this.#waiting;
    this.#waiting = waiting ? null : [];
    const control = need("log-pause");
    control.setAttribute("aria-pressed", `${!waiting}`);
    write(control, waiting ? "Pause" : "Go on");
    for (const [entry, at] of waiting ?? []) this.add(entry, at);
    this.#count();
  }
  #count() {
    const events = this.#lines.reduce((sum, { count }) => sum + count, 0);
    write(need("log-count"), this.#waiting ? `paused, ${this.#waiting.length} waiting` : events ? `${events} events` : "nothing yet");
  }
  #export() {
    const text2 = this.#lines.map(({ at, from, text: text3, count, held }) => JSON.stringify({ at, from, text: text3, count, held })).join("\n");
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([text2], { type: "application/x-ndjson" }));
    link.download = "events.ndjson";
    link.click();
    URL.revokeObjectURL(link.href);
  }
};
function since(at) {
  const time = make("time", ((at.getTime() - performance.timeOrigin) / 1e3).toFixed(1));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleTimeString();
  return time;
}
function breakable(text2) {
  return text2.split(/(?<=[._])(?=[a-z])/).flatMap((part2) => [part2, make("wbr")]);
}
function open(details, held) {
  details.append(make("pre", JSON.stringify(held, null, 2)));
}

// src/outcome.ts
var MOST3 = 12;
var AFTERWARDS_MS = 2500;
var Outcome = class {
  #place = need("outcome");
  #desk;
  #log;
  #steps = null;
  #what = "";
  #heldBefore = false;
  #gap = false;
  constructor(desk, wire, log) {
    this.#desk = desk;
    this.#log = log;
    wire.heard.on((reading) => this.#hear(reading));
    desk.told.on((event) => this.#told(event));
    desk.changed.on(({ token }) => {
      if (!token && this.#heldBefore) this.#gap = true;
    });
    this.#place.append(make("p.hint", "Nothing is broken yet."));
  }
  /** Something is broken, or mended, from now on. */
  begin(what) {
    this.#what = what;
    this.#gap = false;
    this.#heldBefore = this.#desk.tokens.isTokenValid();
    this.#steps = make("ol.steps", make("li", what));
    this.#place.replaceChildren(this.#steps);
  }
  /** Something that is not about secrets followed. */
  add(text2, tone) {
    if (!this.#steps || this.#steps.childElementCount >= MOST3) return;
    const item = make("li", text2);
    item.dataset["tone"] = tone;
    this.#steps.append(item);
  }
  #hear({ status, path, code, made: made2 }) {
    if (status < 400) this.add(`${status} ${path}`, "rest");
    else this.add(`${status} ${path}${made2 ? "" : ` ${code ?? ""}`}`, "warn");
  }
  #told(event) {
    if (!this.#steps) return;
    if (event.type === "tokenExpired") {
      this.add(`expired ${span(event.lateByMs)} ago`, "warn");
    } else if (event.type === "tokenError") {
      const { error, willRetry, nextAttemptAt } = event;
      if (!error.status) this.add(error.code, "warn");
      if (willRetry) this.add(`waits ${span(this.#wait(nextAttemptAt))}${error.retryAfterMs ? ", as told" : ""}`, "rest");
      else this.#end(this.#desk.tokens.isTokenValid() ? "keeps the secret at hand" : error.hint, this.#desk.tokens.isTokenValid() ? "good" : "bad");
    } else {
      this.#end(`new secret${this.#heldBefore && !this.#gap ? ", no gap" : ""}`, "good");
    }
  }
  #wait(until) {
    return Math.max((until ?? 0) - this.#desk.wall(), 0);
  }
  #end(text2, tone) {
    this.add(text2, tone);
    this.#log.add({ from: "secret", text: `${this.#what} → ${text2}`, tone: tone === "good" ? "good" : "bad" });
    const steps = this.#steps;
    setTimeout(() => this.#steps === steps && (this.#steps = null), AFTERWARDS_MS);
  }
};

// src/secret-card.ts
var PHASES = {
  idle: ["Idle", "rest"],
  requesting: ["Asking", "wait"],
  ready: ["Valid", "good"],
  refreshing: ["Refreshing", "wait"],
  backoff: ["Waiting to retry", "warn"],
  paused: ["Paused", "rest"],
  expired: ["Expired", "bad"],
  failed: ["Failed", "bad"],
  destroyed: ["Ended", "rest"]
};
var FACTS = ["Secret", "Model", "Voice", "Reason", "Next"];
var SecretCard = class {
  #desk;
  #clock;
  #facts = /* @__PURE__ */ new Map();
  #reason = "";
  constructor(desk, clock) {
    this.#desk = desk;
    this.#clock = clock;
    for (const name2 of FACTS) {
      const value = make("dd", "–");
      this.#facts.set(name2, value);
      need("facts").append(make("div", make("dt", name2), value));
    }
    need("secret-refresh").addEventListener("click", () => void desk.tokens.refreshToken().catch(() => {
    }));
    need("secret-drop").addEventListener("click", () => desk.tokens.invalidate("dropped by hand"));
    desk.changed.on((snapshot) => this.#show(snapshot));
    desk.told.on((event) => this.#remember(event));
    setInterval(() => this.#tick(), 250);
    this.#show(desk.tokens.getSnapshot());
  }
  #remember(event) {
    if (event.type === "tokenRefreshed") this.#reason = REASONS[event.reason];
    this.#show(this.#desk.tokens.getSnapshot());
  }
  #show({ phase, token, refreshAt, expiresAt }) {
    const [label, tone] = PHASES[phase];
    const pill = need("phase");
    write(pill, label);
    pill.dataset["tone"] = tone;
    const { model, voice } = token?.session ?? {};
    this.#fact("Secret", token?.masked ?? "none");
    this.#fact("Model", model ?? "–");
    this.#fact("Voice", voice ?? "–");
    this.#fact("Reason", token ? this.#reason : "–");
    write(need("secret-refresh"), token ? "Refresh now" : "Get one");
    enable(need("secret-drop"), token !== null);
    const lead = token && refreshAt && expiresAt ? (expiresAt - refreshAt) / token.lifetimeMs : 0;
    need("dial-zone").setAttribute("stroke-dasharray", `${lead * 100} 100`);
    need("dial-mark").setAttribute("transform", `rotate(${lead * 360} 100 100)`);
    need("dial-mark").toggleAttribute("hidden", !lead);
    this.#tick();
  }
  #tick() {
    const { tokens } = this.#desk;
    const { token, phase, refreshAt, nextAttemptAt, error, attempt } = tokens.getSnapshot();
    const left = tokens.getTimeUntilExpiration();
    const share = token ? left / token.lifetimeMs : 0;
    need("dial-left").setAttribute("stroke-dasharray", `${share * 100} 100`);
    write(need("dial-time"), token ? countdown(left) : "–");
    need("dial-time").classList.toggle("none", !token);
    write(need("dial-note"), token ? `of ${countdown(token.lifetimeMs)}` : phase === "idle" ? "nothing yet" : "no secret");
    const trouble = error && [error.brokerCode ?? error.code, error.retryAfterMs ? `wait ${wait(error.retryAfterMs)}` : token ? "" : error.hint];
    write(need("trouble"), trouble ? trouble.filter(Boolean).join(": ") : "");
    const until = (at) => wait(at - this.#clock.wall());
    if (nextAttemptAt) this.#fact("Next", `attempt ${attempt + 1} in ${until(nextAttemptAt)}`);
    else if (phase === "requesting" || phase === "refreshing") this.#fact("Next", `attempt ${attempt} under way`);
    else if (refreshAt) this.#fact("Next", `refresh in ${until(refreshAt)}`);
    else this.#fact("Next", phase === "paused" ? "when somebody looks" : "when it is needed");
  }
  #fact(name2, value) {
    const place = this.#facts.get(name2);
    if (place) write(place, value);
  }
};

// src/levels.ts
import { createLevelMeter as createLevelMeter2 } from "./sdk.js";
var BAR = 3;
var GAP = 2;
var STEP_MS = 60;
var LevelStrip = class {
  #canvas;
  #meter = null;
  #peaks = [];
  #drawnAt = 0;
  #frame = 0;
  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    addEventListener("theme", () => this.#draw());
  }
  /** Listens to `stream`, or to nothing. */
  listen(stream) {
    this.#meter?.close();
    cancelAnimationFrame(this.#frame);
    this.#meter = stream?.getAudioTracks().length ? createLevelMeter2(stream) : null;
    this.#peaks = [];
    if (this.#meter) this.#frame = requestAnimationFrame(this.#look);
    else this.#draw();
  }
  #look = (now) => {
    this.#frame = requestAnimationFrame(this.#look);
    if (now - this.#drawnAt < STEP_MS) return;
    this.#drawnAt = now;
    this.#peaks.push(Math.min(this.#meter?.read() ?? 0, 1));
    this.#draw();
  };
  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext("2d");
    if (!pen) return;
    pen.scale(scale, scale);
    const colors = getComputedStyle(this.#canvas);
    const count = Math.floor(width / (BAR + GAP));
    this.#peaks = this.#peaks.slice(-count);
    for (let n = 0; n < count; n++) {
      const peak = this.#peaks[n - count + this.#peaks.length] ?? 0;
      const tall = Math.max(Math.sqrt(peak) * height, 2);
      pen.fillStyle = peak > 0.01 ? colors.color : colors.borderTopColor;
      pen.fillRect(n * (BAR + GAP), (height - tall) / 2, BAR, tall);
    }
    this.#canvas.dataset["peak"] = Math.max(...this.#peaks, 0).toFixed(2);
  }
};

// src/line.ts
var EVERY_MS2 = 1e3;
var MOST4 = 60;
var SIZE = { width: 64, height: 16, least: 10 };
var Line = class {
  #place = need("line");
  #picture = need("line-past");
  #peer = null;
  #past = [];
  #timer;
  /** Watches this connection, or none. */
  watch(peer) {
    clearInterval(this.#timer);
    this.#peer = peer;
    this.#past = [];
    this.#place.hidden = true;
    if (peer) this.#timer = setInterval(() => void this.#look(peer), EVERY_MS2);
  }
  async #look(peer) {
    const { roundTrip, jitter } = await peer.getStats().then(figures, () => ({}));
    if (peer !== this.#peer) return;
    const parts = [];
    if (roundTrip !== void 0) parts.push(`RTT ${whole(roundTrip)}`);
    if (jitter !== void 0) parts.push(`jitter ${whole(jitter)}`);
    write(need("line-now"), parts.join(" · "));
    this.#place.hidden = !parts.length;
    if (roundTrip !== void 0) this.#past = [...this.#past, roundTrip].slice(-MOST4);
    this.#draw();
  }
  #draw() {
    const [low, high] = [Math.min(...this.#past), Math.max(...this.#past)];
    this.#picture.toggleAttribute("hidden", this.#past.length < 2);
    const { width, height, least } = SIZE;
    const scale = (height - 3) / Math.max(high, least);
    const points = this.#past.map((ms, n) => [width - 2 - (this.#past.length - 1 - n) * (width - 4) / (MOST4 - 1), height - 1.5 - ms * scale]);
    const [x, y] = points.at(-1) ?? [0, 0];
    const floor = draw("path", { class: "floor", d: `M2 ${height - 1.5}H${width - 2}` });
    this.#picture.replaceChildren(floor, draw("path", { d: `M${points.join("L")}` }), draw("circle", { cx: x, cy: y, r: 2 }));
    this.#picture.setAttribute("aria-label", `Round trip in the last ${this.#past.length} s: ${whole(low)} to ${whole(high)}`);
  }
};
var whole = (ms) => ms < 1 ? "< 1 ms" : `${Math.round(ms)} ms`;
function figures(report) {
  const all = [];
  report.forEach((one) => all.push(one));
  const chosen = all.find(({ type }) => type === "transport")?.["selectedCandidatePairId"];
  const pair = all.find(({ id, type, selected, nominated, state }) => chosen ? id === chosen : type === "candidate-pair" && (selected ?? (nominated && state === "succeeded")));
  const sound = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
  const told2 = {};
  const [roundTrip, jitter] = [pair?.["currentRoundTripTime"], sound?.["jitter"]];
  if (typeof roundTrip === "number") told2.roundTrip = roundTrip * 1e3;
  if (typeof jitter === "number") told2.jitter = jitter * 1e3;
  return told2;
}

// src/microphones.ts
var ALIASES = ["default", "communications"];
var sender = (peer) => peer?.getSenders().find(({ track }) => track);
var Microphones = class {
  #select = need("microphones");
  #chosen = null;
  /** Picked during a call: ours to stop, where the first one is the client's. */
  #own = null;
  #swaps = 0;
  #shown = null;
  constructor(pick) {
    this.#select.addEventListener("change", () => {
      this.#chosen = this.#select.value;
      pick(this.#chosen);
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#shown && void this.show(this.#shown));
  }
  /** What the next call asks for. */
  get wanted() {
    return this.#chosen ? { deviceId: { exact: this.#chosen } } : true;
  }
  /** What was chosen is gone, so any will do. False when nothing was chosen. */
  forget() {
    const chosen = this.#chosen;
    this.#chosen = null;
    return chosen !== null;
  }
  /** Offers the choice, `track` being the one in use; hides it when there is nothing to choose. */
  async show(track) {
    this.#shown = track;
    const all = track ? await navigator.mediaDevices.enumerateDevices() : [];
    if (this.#shown !== track) return;
    const inputs = all.filter(({ kind, deviceId, label }) => kind === "audioinput" && label && deviceId !== "communications");
    const options = inputs.map(({ deviceId, label }) => {
      const option = make("option", label);
      option.value = deviceId;
      return option;
    });
    this.#select.replaceChildren(...options);
    this.#select.value = track?.getSettings().deviceId ?? "";
    const choosable = inputs.filter(({ deviceId }) => !ALIASES.includes(deviceId)).length > 1;
    this.#select.hidden = !choosable;
    need("microphone").hidden = choosable;
  }
  /** Speaks through another one from now on. Null when that cannot be, or a later choice overtook it. */
  async swap(peer, id) {
    const swap = ++this.#swaps;
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { deviceId: { exact: id } } }).catch(() => null);
    const track = stream?.getAudioTracks()[0] ?? null;
    const way = sender(peer);
    if (!track || !way?.track || swap !== this.#swaps || peer.connectionState === "closed") {
      track?.stop();
      void this.show(this.#shown);
      return null;
    }
    track.enabled = way.track.enabled;
    way.track.stop();
    this.#own = track;
    await way.replaceTrack(track);
    void this.show(track);
    return track;
  }
  /** What the call sends: what was picked during it, also after it was made anew. */
  sent(peer) {
    const way = sender(peer);
    if (way && this.#own) void way.replaceTrack(this.#own);
    return way ? this.#own ?? way.track : null;
  }
  /** The call is over. */
  letGo() {
    this.#swaps++;
    this.#own?.stop();
    this.#own = null;
  }
};

// src/talk.ts
import { ConnectionError, createRealtimeConnection } from "./sdk.js";

// src/transcript.ts
var text = (value) => typeof value === "string" ? value : "";
var Transcript = class {
  #place = need("transcript");
  #follow = follow(this.#place);
  #turns = /* @__PURE__ */ new Map();
  #askedAt = null;
  #local;
  /** `local` when nothing that is said leaves the page. */
  constructor(local) {
    this.#local = local;
    this.clear();
  }
  clear() {
    const hint = this.#local ? "A second peer in this page plays the model: your sound goes there and nowhere else. Without a microphone a made-up voice speaks for you." : "Your sound goes to OpenAI, on your own account. Without a microphone a made-up voice speaks for you.";
    this.#place.replaceChildren(make("div.empty", make("p", make("b", "Nobody talks yet")), make("p", hint)));
    this.#turns.clear();
  }
  /** A line of ours between the turns. */
  note(words) {
    this.#append(make("p.note", words));
  }
  /** What was typed. */
  typed(words) {
    this.#askedAt = performance.now();
    this.#turn("you", "You").append(words);
  }
  hear(event) {
    const response = text(event["response_id"]);
    const { type } = event;
    if (type === "input_audio_buffer.speech_stopped") {
      this.#askedAt = performance.now();
      const spoke = Number(event["audio_end_ms"]) - Number(event["audio_start_ms"] ?? NaN);
      this.#turn("you", "You").append(Number.isFinite(spoke) ? `(${span(Math.max(spoke, 0))} of speech)` : "(speech)");
    } else if (type === "conversation.item.input_audio_transcription.completed") {
      this.#turn("you", "You").append(text(event["transcript"]));
    } else if (type === "response.output_audio_transcript.delta" || type === "response.output_text.delta") {
      this.#answer(response).append(text(event["delta"]));
      this.#follow();
    } else if (type === "response.function_call_arguments.done") {
      const call = make("details", make("summary", `Tool call ${text(event["name"])}`), make("pre", text(event["arguments"])));
      this.#append(call);
    } else if (type === "response.done") {
      const { id, status } = Object(event["response"]);
      if (status === "cancelled") this.#cut(`${id}`);
    }
  }
  #answer(response) {
    const known = this.#turns.get(response);
    if (known) return known;
    const made2 = this.#turn("model", "Model", this.#askedAt ? performance.now() - this.#askedAt : void 0);
    this.#askedAt = null;
    this.#turns.set(response, made2);
    return made2;
  }
  #cut(response) {
    const turn = this.#turns.get(response);
    if (!turn) return;
    turn.classList.add("cut");
    const who = turn.parentElement?.querySelector(".who");
    if (who) write(who, "Model, interrupted");
  }
  #turn(kind, who, tookMs) {
    const words = make("p.words");
    const head = make("p.head", make("span.who", who));
    if (tookMs !== void 0) head.append(make("span.took", span(tookMs)));
    this.#append(make(`div.turn.${kind}`, head, words));
    return words;
  }
  #append(element) {
    this.#place.querySelector(".empty")?.remove();
    this.#place.append(element);
    this.#follow();
  }
};

// src/talk.ts
var STATES = { disconnected: ["Not connected", "rest"], connecting: ["Connecting", "wait"], connected: ["Connected", "good"] };
var LABELS = { disconnected: "Connect", connecting: "Cancel", connected: "Disconnect" };
var SAMPLE = "Is anybody there? I would like to know how this works.";
var lacksMicrophone = (error) => error instanceof ConnectionError && error.code.startsWith("microphone");
var Talk = class {
  #log;
  #falls;
  #outcome;
  #connection;
  #transcript;
  #me = new LevelStrip(need("level-me"));
  #them = new LevelStrip(need("level-model"));
  #line = new Line();
  #microphones = new Microphones((id) => void this.#pick(id));
  /** Speaks for somebody without a microphone, for one call: the next one asks for the microphone again. */
  #voice = null;
  #muted = false;
  #status = "disconnected";
  /** The made-up voice takes one turn by itself after the greeting, so that there is something to see. */
  #hasSpoken = false;
  constructor({ desk, log, falls, outcome, model }) {
    this.#log = log;
    this.#falls = falls;
    this.#outcome = outcome;
    this.#transcript = new Transcript(model !== null);
    this.#connection = createRealtimeConnection({ tokens: desk.tokens, ...model && { fetch: model.fetch } });
    this.#connection.subscribe(() => this.#show());
    this.#connection.on("event", (event) => this.#hear(event));
    this.#connection.on("contextLost", () => this.#transcript.note("The call broke and was made again. The new one knows nothing of what was said."));
    desk.changed.on(() => this.#connection.options = { ...this.#connection.options, tokens: desk.tokens });
    need("connect").addEventListener("click", () => this.#toggle());
    need("mute").addEventListener("click", () => this.#voice ? this.#voice.say(syllables(SAMPLE)) : this.#mute(!this.#muted));
    need("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#type();
    });
    write(need("peer"), model ? "Local stand-in" : "Model");
    this.#show();
  }
  #toggle() {
    if (this.#status !== "disconnected") return this.#connection.disconnect();
    this.#transcript.clear();
    this.#voice?.close();
    this.#voice = null;
    void this.#connect();
  }
  async #connect() {
    let error = await this.#speakThrough(this.#microphones.wanted);
    if (lacksMicrophone(error) && this.#microphones.forget()) error = await this.#speakThrough(true);
    if (!lacksMicrophone(error)) return;
    this.#voice = new Voice(130);
    const [why, cure] = error.code === "microphone_denied" ? ["The microphone was refused", " Allow it and connect again to speak yourself."] : ["There is no microphone", ""];
    this.#transcript.note(`${why}: a made-up voice speaks for you.${cure}`);
    this.#log.add({ from: "call", text: `${error.code}: goes on with a made-up voice`, tone: "warn" });
    await this.#speakThrough(this.#voice.stream);
  }
  async #speakThrough(microphone) {
    this.#connection.options = { ...this.#connection.options, microphone };
    await this.#connection.connect();
    return this.#connection.getSnapshot().error;
  }
  #show() {
    const { status, error, session, timings } = this.#connection.getSnapshot();
    const [label, tone] = STATES[status];
    const pill = need("call-status");
    write(pill, label);
    pill.dataset["tone"] = tone;
    write(need("connect"), LABELS[status]);
    const up = status === "connected";
    for (const id of ["send", "mute", "hang-up"]) {
      const control = document.getElementById(id);
      if (control) enable(control, up);
    }
    need("words").placeholder = up ? "Type a message" : "Connect, then talk or type";
    if (status === this.#status) return;
    this.#status = status;
    this.#outcome.add(`call ${label.toLowerCase()}`, up ? "good" : "warn");
    const held = error && { held: { name: error.name, message: error.message } };
    this.#log.add({ from: "call", text: label.toLowerCase(), tone: up ? "good" : error ? "bad" : "warn", ...held });
    if (error && !lacksMicrophone(error)) this.#transcript.note(`${error.message} ${Object(error).hint ?? ""}`);
    this.#listen();
    if (up && session) this.#falls.call({ ...timings, ...session.timings });
    this.#hasSpoken = false;
  }
  #listen() {
    const { session } = this.#connection.getSnapshot();
    if (this.#status === "disconnected") this.#rest();
    const track = this.#microphones.sent(session?.peer);
    this.#me.listen(track ? new MediaStream([track]) : null);
    this.#them.listen(session?.remote ?? null);
    this.#line.watch(session?.peer ?? null);
    this.#mute(this.#muted);
    write(need("microphone"), this.#voice ? "Made-up voice" : "Microphone");
    if (track) void this.#microphones.show(this.#voice ? null : track);
  }
  #rest() {
    this.#muted = false;
    this.#microphones.letGo();
  }
  #mute(muted) {
    this.#muted = muted;
    const control = need("mute");
    if (this.#voice) {
      control.removeAttribute("aria-pressed");
      return write(control, "Speak");
    }
    this.#connection.mute(muted);
    control.setAttribute("aria-pressed", `${muted}`);
    write(control, muted ? "Muted" : "Mute");
  }
  async #pick(id) {
    const { session } = this.#connection.getSnapshot();
    if (!session) return;
    const track = await this.#microphones.swap(session.peer, id);
    if (!track || this.#connection.getSnapshot().session !== session) return;
    track.enabled = !this.#muted;
    this.#me.listen(new MediaStream([track]));
    this.#log.add({ from: "call", text: `speaks through ${track.label}` });
  }
  #type() {
    const input = need("words");
    const words = input.value.trim();
    const item = { type: "message", role: "user", content: [{ type: "input_text", text: words }] };
    if (!words || !this.#say({ type: "conversation.item.create", item })) return;
    this.#say({ type: "response.create" });
    this.#transcript.typed(words);
    input.value = "";
  }
  #say(event) {
    this.#log.add({ from: "model", text: `→ ${event.type}`, held: event });
    return this.#connection.send(event);
  }
  #hear(event) {
    this.#log.add({ from: "model", text: `← ${event.type}`, held: event });
    this.#transcript.hear(event);
    if (event.type === "output_audio_buffer.started") this.#falls.spoken();
    if (event.type === "error") this.#transcript.note(`${Object(event["error"]).message ?? "The model reports an error."}`);
    if (event.type === "output_audio_buffer.stopped" && this.#voice && !this.#hasSpoken) {
      this.#hasSpoken = true;
      setTimeout(() => this.#status === "connected" && this.#voice?.say(syllables(SAMPLE)), 600);
    }
  }
};

// src/views.ts
var THEMES = ["auto", "light", "dark"];
var VIEWS = ["secret", "talk", "events", "code"];
var kept = new URLSearchParams(location.hash.slice(1));
var phone = matchMedia("(max-width: 40rem), (max-height: 30rem) and (pointer: coarse)");
var tabs = document.querySelectorAll("[role=tab]");
var part = "secret";
function keep(name2, value, normal) {
  if (value === normal) kept.delete(name2);
  else kept.set(name2, value);
  history.replaceState(null, "", `${location.pathname}${location.search}${kept.size ? `#${kept}` : ""}`);
}
function dress(theme) {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
  keep("theme", theme, "auto");
  dispatchEvent(new Event("theme"));
}
function show(view) {
  if (view !== "code") part = view;
  for (const tab of tabs) {
    const selected = tab.id === `tab-${view}` || tab.id === "tab-try" && view !== "code";
    tab.setAttribute("aria-selected", `${selected}`);
    tab.tabIndex = selected ? 0 : -1;
  }
  need("try").dataset["part"] = part;
  need("try").hidden = view === "code";
  need("code").hidden = view !== "code";
  name();
  keep("view", view, "secret");
}
function name() {
  need("try").setAttribute("aria-labelledby", phone.matches ? `tab-${part}` : "tab-try");
}
function walk(event) {
  const seen = [...tabs].filter((tab) => tab.checkVisibility());
  const at = seen.indexOf(event.target);
  const to = { ArrowLeft: at - 1, ArrowRight: (at + 1) % seen.length, Home: 0, End: -1 }[event.key];
  if (to === void 0) return;
  event.preventDefault();
  seen.at(to)?.click();
  seen.at(to)?.focus();
}
function echo(small) {
  const source = need(small.dataset["of"] ?? "");
  const copy = () => write(small, source.textContent ?? "");
  new MutationObserver(copy).observe(source, { childList: true, characterData: true, subtree: true });
}
function askedFaults() {
  return kept.get("chaos")?.split(",") ?? [];
}
function views() {
  const theme = THEMES.find((name2) => name2 === kept.get("theme")) ?? "auto";
  choice(need("theme"), [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]], theme, dress);
  dress(theme);
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      show(VIEWS.find((view) => tab.id === `tab-${view}`) ?? part);
      if (phone.matches) scrollTo(0, 0);
    });
    tab.addEventListener("keydown", walk);
  }
  document.querySelectorAll("[data-of]").forEach(echo);
  phone.addEventListener("change", name);
  show(VIEWS.find((view) => view === kept.get("view")) ?? "secret");
}

// src/wire.ts
var number = (text2) => text2 ? Number(text2) : void 0;
function made({ status, code, retryAfterSeconds }) {
  const headers = new Headers({ "content-type": "application/json" });
  if (retryAfterSeconds) headers.set("retry-after", `${retryAfterSeconds}`);
  const error = { code, message: `Made up by this page: ${status}.` };
  return new Response(JSON.stringify({ success: false, error }), { status, headers });
}
var Wire = class {
  heard = new Signal();
  /** Take the place of the next answers, in order. */
  faults = [];
  /** Seconds that answers are made to say, or null. */
  lifetime = null;
  offline = false;
  fetch = async (input, init) => {
    if (this.offline) throw new TypeError("Offline: nothing was sent.");
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    const started = performance.now();
    const fault = this.faults.shift();
    const response = fault ? made(fault) : await fetch(input, init);
    const reading = await read(response, `/${url.pathname.split("/").pop()}`);
    this.heard.tell({ ...reading, tookMs: performance.now() - started, made: fault !== void 0 });
    return response.ok && this.lifetime ? this.#shorten(response, this.lifetime) : response;
  };
  /** The same answer with a shorter life; the refresh is asked for late enough for the broker's least interval. */
  async #shorten(response, seconds) {
    const told2 = await response.json();
    const body = { ...told2, expiresIn: seconds, expires_in: seconds, refresh_in: seconds * 0.6 };
    return new Response(JSON.stringify(body), { status: response.status, headers: response.headers });
  }
};
async function read(response, path) {
  const { status, headers, ok } = response;
  const timing = headers.get("server-timing") ?? "";
  const took = (name2) => number(new RegExp(`${name2};dur=([\\d.]+)`).exec(timing)?.[1]);
  const [limit, left, resetSeconds] = ["limit", "remaining", "reset"].map((name2) => number(headers.get(`x-ratelimit-${name2}`)));
  const reading = { path, status, upstreamMs: took("upstream"), totalMs: took("total") };
  if (limit !== void 0) reading["window"] = { limit, left, resetSeconds };
  if (!ok) {
    const { error } = await response.clone().json().catch(() => ({}));
    const retryAfterSeconds = number(headers.get("retry-after"));
    Object.assign(reading, { code: error?.["code"], message: error?.["message"], limit: error?.["limit"], retryAfterSeconds });
  }
  return reading;
}

// src/app.ts
function signIn({ people }, desk, log) {
  if (!people.length) return;
  const pick = (name2) => {
    const person = people.find((one) => one.name === name2) ?? null;
    desk.signIn(person);
    log.add({ from: "page", text: person ? `signed in as ${person.name}, ${person.role}` : "signed out" });
    void desk.tokens.requestToken().catch(() => {
    });
  };
  choice(need("people"), [["", "Nobody"], ...people.map(({ name: name2, role }) => [name2, name2, role])], "", pick);
  need("people").hidden = false;
}
function start(about) {
  const lab = { clock: new LabClock(), page: new LabPage(), wire: new Wire() };
  const desk = new Desk(lab);
  const log = new EventLog();
  keepDiary(desk, lab.wire, log);
  const falls = new Falls(lab.wire);
  const lives = new Lives(desk);
  const outcome = new Outcome(desk, lab.wire, log);
  const model = about.simulated ? new LocalModel() : null;
  if (about.mode === "dev") new Guards(desk, lab.wire, log);
  new SecretCard(desk, lab.clock);
  chaosBar({ desk, lab, log, lives, outcome, model });
  new Talk({ desk, log, falls, outcome, model });
  signIn(about, desk, log);
  need("health").title = `Version ${about.version}`;
  watchHealth(about.simulated ? "simulated OpenAI" : "live OpenAI");
  const off = desk.told.on(({ type }) => {
    if (type !== "tokenRefreshed") return;
    off();
    for (const name2 of askedFaults()) need("chaos").querySelector(`[name="${CSS.escape(name2)}"]`)?.click();
  });
  if (about.simulated) void desk.tokens.requestToken().catch(() => {
  });
}
views();
showCode();
readAbout().then(start, (error) => {
  const notice = need("notice");
  notice.textContent = `The broker did not say who it is: ${Object(error).message}`;
  notice.hidden = false;
}).finally(() => document.body.classList.remove("waiting"));
