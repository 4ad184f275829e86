// What the page knows: the latest overview and tick, the last 1,024 events, and five minutes of
// figures of each service, which the proxy does not keep.

const bin = 5e3; // ms of one point of a sparkline
export const bins = 60; // five minutes
const secondsKept = 10; // for means: one second alone says little
const sharesOver = 30; // ticks that a share is taken over
const sharesFrom = 5; // with fewer ticks it is that since the endpoint was first named
const eventsMost = 1024;

export const store = {
  overview: null, tick: null, detail: null, events: [], connection: 'wait', message: '',
  offset: 0, // ms that the proxy's clock is ahead of ours
  service: '', // the one that is open
};

// now is the proxy's time, in ms.
export const now = () => Date.now() + store.offset;

const series = new Map(); // of a service, or '' for the total
let attempts = []; // of the open service: [Map of label to attempts], the oldest first

// historyOf are the figures of a service: {seconds, points}; points are {at, rps, errors}, by bin.
export function historyOf(name) {
  let h = series.get(name);
  if (!h) series.set(name, h = { seconds: [], points: [], p50: 0, p99: 0, heard: 0 });
  return h;
}

function keep(name, at, r) {
  const h = historyOf(name);
  h.seconds.push(r);
  if (h.seconds.length > secondsKept) h.seconds.shift();
  if (r.p50) [h.p50, h.p99, h.heard] = [r.p50, r.p99, at];
  else if (at - h.heard > secondsKept * 1e3) [h.p50, h.p99] = [0, 0];
  const slot = Math.floor(at / bin);
  let p = h.points.at(-1);
  if (!p || p.at !== slot) h.points.push(p = { at: slot, rps: 0, errors: 0, n: 0 });
  p.rps += r.rps;
  p.errors += r.rps * r.error_rate;
  p.n++;
  while (h.points[0].at <= slot - bins) h.points.shift();
}

// means are the figures of a service to show: rates over a few seconds, the latest latencies.
export function means(name) {
  const h = historyOf(name);
  const few = h.seconds.slice(-5);
  let all = 0, bad = 0;
  for (const r of h.seconds) { all += r.rps; bad += r.rps * r.error_rate; }
  return {
    rps: few.reduce((sum, r) => sum + r.rps, 0) / (few.length || 1), errors: all ? bad / all : 0,
    p50: h.p50, p99: h.p99, inFlight: h.seconds.at(-1)?.in_flight || 0,
  };
}

// takeTick keeps a tick.
export function takeTick(tick) {
  const at = Date.parse(tick.at);
  store.offset = at - Date.now();
  store.tick = tick;
  keep('', at, tick.total);
  const none = { rps: 0, error_rate: 0, p50: 0, p99: 0, in_flight: 0 };
  for (const name of Object.keys(tick.states)) keep(name, at, tick.services[name] || none);
  for (const [name, r] of Object.entries(tick.routes)) keep('route ' + name, at, r);
  if (tick.detail) takeDetail(tick.detail, tick.endpoints || {}, at);
}

// takeDetail keeps the endpoints of the open service, with the share of the last half minute.
export function takeDetail(detail, figures, at) {
  if (detail.name !== store.service) return;
  const endpoints = detail.endpoints || [];
  const counts = new Map(endpoints.map((e) => [e.label, e.attempts]));
  if (attempts.push(counts) > sharesOver) attempts.shift();
  const before = attempts.length > sharesFrom ? attempts[0] : new Map(endpoints.map((e) => [e.label, 0]));
  let all = 0;
  const since = endpoints.map((e) => { const n = Math.max(0, e.attempts - (before.get(e.label) ?? e.attempts)); all += n; return n; });
  const weights = endpoints.reduce((sum, e) => sum + (e.usable ? e.weight : 0), 0);
  const old = new Map((store.detail?.name === detail.name ? store.detail.endpoints : []).map((e) => [e.label, e]));
  endpoints.forEach((e, i) => {
    const f = figures[e.label] || {}, was = old.get(e.label);
    if (e.word === 'out' && e.overrides?.some((o) => o.kind === 'drain')) e.word = 'draining';
    Object.assign(e, f.p50 || !was ? { p50: f.p50 || e.p50 || 0, p99: f.p99 || e.p99 || 0, heard: at } : { p50: was.p50, p99: was.p99, heard: was.heard });
    if (at - e.heard > secondsKept * 1e3) e.p50 = e.p99 = 0;
    e.share = all ? since[i] / all : e.share || 0;
    e.expected = f.expected ?? (e.usable && weights ? e.weight / weights : 0);
  });
  store.detail = { ...detail, endpoints };
}

// forget drops what is known of the open service: another one is opened.
export function forget() { store.detail = null; attempts = []; }

// takeEvent keeps an event; those that are known already are left out.
export function takeEvent(e) {
  if (store.events.length && e.id <= store.events.at(-1).id) return;
  store.events.push(e);
  if (store.events.length > eventsMost) store.events.shift();
}

// takeOverview keeps a hello. It returns whether the proxy is another process than before.
export function takeOverview(o) {
  const other = store.overview !== null && store.overview.started !== o.started;
  if (other) { store.events = []; series.clear(); attempts = []; }
  store.overview = o;
  return other;
}

// problems are what is wrong, by the latest word.
export const problems = () => store.tick?.problems || store.overview?.problems || [];
