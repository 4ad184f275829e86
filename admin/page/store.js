// What the page knows: the latest overview and tick, the last 1,024 events, and five minutes of
// figures of each service and route, which the proxy does not keep.

const bin = 5e3; // ms of one point of a sparkline
export const bins = 60; // five minutes
const keptFor = 10; // seconds that means and latencies are kept: one second alone says little
const sharesOver = 30; // ticks that a share is taken over
const sharesFrom = 5; // with fewer ticks it is that since the proxy began
const eventsMost = 1024;

export const store = {
	overview: null, tick: null, detail: null, events: [], connection: 'wait', message: '',
	offset: 0, // ms that the proxy's clock is ahead of ours
	service: '', // the one that is open
};

// now is the proxy's time, in ms.
export const now = () => Date.now() + store.offset;

const series = new Map(); // by name: {seconds, points}; points are {at, rps, errors, n}, by bin
const heard = new Map(); // by name: the latest latencies that there were
let attempts = []; // of the open service: {label: attempts}, the oldest first

const historyOf = (name) => series.get(name) || series.set(name, { seconds: [], points: [] }).get(name);

// latencies are those of a second; of one without any, the last ones for a while.
function latencies(name, { p50, p99 } = {}, at = now()) {
	if (p50) heard.set(name, { p50, p99, at });
	const last = heard.get(name);
	return last && at - last.at <= keptFor * 1e3 ? last : { p50: 0, p99: 0 };
}

function keep(name, at, r = { rps: 0, error_rate: 0, in_flight: 0 }) {
	const { seconds, points } = historyOf(name), slot = Math.floor(at / bin);
	if (seconds.push(r) > keptFor) seconds.shift();
	latencies(name, r, at);
	if (points.at(-1)?.at !== slot) points.push({ at: slot, rps: 0, errors: 0, n: 0 });
	const p = points.at(-1);
	p.rps += r.rps;
	p.errors += r.rps * r.error_rate;
	p.n++;
	while (points[0].at <= slot - bins) points.shift();
}

const sum = (list, of) => list.reduce((all, x) => all + of(x), 0);

// means are the figures to show of a name: rates over a few seconds, the latest latencies.
export function means(name) {
	const { seconds, points } = historyOf(name), few = seconds.slice(-5), all = sum(seconds, (r) => r.rps), { p50, p99 } = latencies(name);
	return {
		rps: sum(few, (r) => r.rps) / (few.length || 1), errors: all && sum(seconds, (r) => r.rps * r.error_rate) / all,
		p50, p99, in_flight: seconds.at(-1)?.in_flight || 0, points,
	};
}

// takeTick keeps a tick.
export function takeTick(tick) {
	const at = Date.parse(tick.at);
	store.offset = at - Date.now();
	store.tick = tick;
	keep('', at, tick.total);
	for (const name of Object.keys(tick.states)) keep('service ' + name, at, tick.services[name]);
	for (const [name, r] of Object.entries(tick.routes)) keep('route ' + name, at, r);
	if (tick.detail?.name === store.service) takeDetail(tick.detail, tick.endpoints || {}, at);
}

// takeDetail keeps the endpoints of the open service, with the share of the last half minute.
function takeDetail(detail, figures, at) {
	const endpoints = detail.endpoints || [];
	if (attempts.push(Object.fromEntries(endpoints.map((e) => [e.label, e.attempts]))) > sharesOver) attempts.shift();
	const young = attempts.length <= sharesFrom;
	const since = endpoints.map((e) => Math.max(0, e.attempts - (young ? 0 : attempts[0][e.label] ?? e.attempts)));
	const all = sum(since, (n) => n);
	endpoints.forEach((e, i) => {
		const f = figures[e.label] || {}, { p50, p99 } = latencies(`endpoint ${detail.name} ${e.label}`, f, at);
		if (e.word === 'out' && e.overrides?.some((o) => o.kind === 'drain')) e.word = 'draining';
		Object.assign(e, { key: e.label, p50, p99, share: all && since[i] / all, expected: f.expected || 0, overrides: e.overrides || [] });
	});
	store.detail = { ...detail, endpoints };
}

// forget drops what is known of the open service: another one is opened.
export function forget() { store.detail = null; attempts = []; }

// takeEvent keeps an event; those that are known already are left out.
export function takeEvent(e) {
	if (e.id <= store.events.at(-1)?.id) return;
	if (store.events.push({ ...e, key: e.id }) > eventsMost) store.events.shift();
}

// takeOverview keeps a hello. It returns whether the proxy is another process than before.
export function takeOverview(o) {
	const other = store.overview !== null && store.overview.started !== o.started;
	if (other) { store.events = []; series.clear(); heard.clear(); attempts = []; }
	store.overview = o;
	return other;
}

// problems are what is wrong, by the latest word.
export const problems = () => (store.tick || store.overview)?.problems || [];
