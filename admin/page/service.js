// One service with its endpoints: what each is doing, since when, and why; and what an operator
// may do about it.

import { h, text, once, attr, glyph, worded, mono } from './dom.js';
import { store, means, now } from './store.js';
import { sparkline, share, ring, timeline, count, order, stateWord } from './draw.js';
import { t, said, listed, latency, number, percent, span, since, clock } from './words.js';
import { List, figure, figures, overrideWords } from './lists.js';
import { changeDialog, kindsFor } from './dialogs.js';

// A Summary is the figures of all requests, or of those of a service, with their last five minutes.
export class Summary {
	constructor() {
		this.cells = figures.map(() => h('dd', { class: 'num' }, '–'));
		this.chart = h('div', { class: 'big' });
		this.el = h('div', { class: 'summary' }, h('dl', { class: 'figures' }, figures.map((c, i) => h('div', {}, h('dt', {}, t('col.' + c.id)), this.cells[i]))), this.chart);
	}

	render(m) {
		figures.forEach((c, i) => c.cell(this.cells[i], m));
		sparkline(this.chart, m.points, 480, 40);
	}
}

const most = (list) => Math.max(0, ...list.map((x) => x.expected));

export class Detail extends List {
	constructor(service) {
		const notes = h('p', { class: 'muted' }), rest = h('p', { class: 'small muted more' }), summary = new Summary(), circle = h('div', { class: 'keys' });
		summary.el.append(circle);
		const chips = h('p', { class: 'chips', role: 'group', 'aria-label': t('chips') });
		super('endpoints', [
			{ id: 'endpoint', className: 'name', sort: (e) => e.label, cell: endpointCell },
			{ id: 'state', className: 'state', sort: (e) => order.indexOf(e.word), cell: stateCell },
			{ id: 'share', className: 'shares', sort: (e) => e.share, cell: (td, e) => share(td, e.share, e.expected, this.fair) },
			{ id: 'keys', className: 'shares keys', cell: (td, e) => this.keysOf[e.id] && share(td, this.keysOf[e.id].served, this.keysOf[e.id].expected, this.fairKeys) },
			figure('in_flight', (n, e) => of(n, e.limit)), figure('p50', latency), figure('p99', latency),
			{ id: 'timeline', className: 'chart', cell: (td, e) => timeline(td, e.changes) },
			{ id: 'probe', className: 'probe', cell: probeCell },
			{ id: 'actions', className: 'actions', cell: (td, e) => {
				if (store.overview?.role !== 'view') once(td, e.key, () => h('button', { 'data-main': true, 'aria-label': t('change.of', { endpoint: e.label }), onclick: () => td.parentNode.change() }, t('change')));
			} },
		], [h('div', { class: 'top' }, h('a', { href: '#/services', class: 'back' }, '‹ ' + t('tab.services')), h('h2', {}, service), notes), summary.el, rest, chips],
		(row, e) => {
			attr(row, 'class', e.word);
			row.change = (chosen) => changeDialog(service, e.label, kindsFor(e), { chosen, weight: e.weight });
		});
		Object.assign(this, { service, notes, more: rest, summary, circle, chips, only: '', keysOf: {} });
	}

	items() {
		const d = store.detail, all = d?.endpoints || [], counts = count(all.map((e) => e.word));
		if (!counts.some(([w]) => w === this.only)) this.only = '';
		this.fair = most(all);
		this.summary.render(means('service ' + this.service));
		text(this.notes, d ? listed(d.policy, d.source?.kind) : '');
		text(this.more, d ? more(d) : '');
		this.filters(counts);
		this.keys(d?.policy === 'consistent_hash', all);
		if (store.tick && !store.tick.states[this.service]) this.problem = t('none.services');
		return d && all.filter((e) => !this.only || e.word === this.only).map((e) => ({ ...e, find: [e.label, e.zone, JSON.stringify(e.metadata || '')].join(' ') }))
			.sort((a, b) => order.indexOf(b.word) - order.indexOf(a.word) || (a.label < b.label ? -1 : 1));
	}

	// filters are buttons, one for each state that there is.
	filters(counts) {
		once(this.chips, counts.join() + this.only, () => counts.map(([w, n]) => h('button', {
			class: 'chip', 'aria-pressed': String(this.only === w), 'data-state': w,
			onclick: () => { this.only = this.only === w ? '' : w; this.render(); this.chips.querySelector(`[data-state="${w}"]`)?.focus(); },
		}, glyph(w), stateWord(w), h('b', { class: 'num' }, number(n)))));
	}

	// keys shows how the keys of consistent hashing are spread.
	keys(hashing, all) {
		this.el.classList.toggle('hashing', hashing);
		if (hashing && !this.timer) this.poll(`services/${encodeURIComponent(this.service)}/keys`, 5e3);
		if (!hashing || !this.said || this.shown === this.said) return;
		this.shown = this.said;
		this.keysOf = Object.fromEntries(this.said.endpoints.map((e) => [e.endpoint, e]));
		this.fairKeys = most(this.said.endpoints);
		ring(this.circle, this.said, (id) => all.find((e) => e.id === id)?.label || id);
	}
}

// values are those of an object, its numbers as texts, for t.
const values = (o) => Object.fromEntries(Object.entries(o).map(([key, v]) => [key, typeof v === 'number' ? number(v) : v]));
const of = (n, all) => all ? t('of', { n: number(n), all: number(all) }) : number(n);
const ns = (n) => latency(n / 1e9);

// more says what there is besides the figures, and '' if there is nothing: what retries and hedges
// have taken of late and what became of hedges, the shares of places, lanes, a queue, sticky clients, how a
// shadow compares, reports that make no sense.
function more({ extra: x, shadow: w, load_reports: r, places = [], lanes = [], lanes_missed: missed, sticky, overload: o }) {
	const n = values(x), refused = o.full + o.displaced + o.timed_out + o.none_left;
	return listed(
		places.map((p) => t('place', { ...values(p), share: percent(p.share) })), lanes.map((l) => t('lane', { ...values(l), value: l.value || '–' })),
		(o.max_in_flight || o.endpoint_max_in_flight || o.endpoint_limits_found) && t('overload', { n: of(o.in_flight, o.max_in_flight) }),
		o.queue && t('queue', { n: of(o.waiting, o.queue) }), o.flooded && t('queue.newest'), o.mean_wait && t('queue.mean', { wait: ns(o.mean_wait) }),
		refused && t('overload.refused', { n: number(refused) }),
		missed && t('lanes.missed', { n: number(missed) }), sticky && t('sticky', values(sticky)),
		x.retries + x.hedges && t('extra.spent', { ...n, share: percent(x.share, 1) }),
		x.hedges_won + x.hedges_lost + x.hedges_failed && t('extra.hedged', n),
		x.hedge_delay && t('extra.due', { after: ns(x.hedge_delay) }),
		x.retries_refused + x.hedges_refused && t('extra.refused', n),
		w && (w.off ? t('shadow.off', w) : t('shadow', { ...values(w), agreed: percent(w.picks && w.agreed / w.picks), wait: ns(w.wait), would: ns(w.shadow_wait) })),
		r?.refused && t('reports.refused', values(r)),
	);
}

function endpointCell(td, e) {
	const weight = e.overrides.find((o) => o.kind === 'weight')?.weight || e.weight;
	const { utilization, others } = e.load?.stale === false ? e.load : {};
	const tags = [weight !== 1 && t('weight.tag', { n: weight }), e.priority && t('priority.tag', { n: e.priority }), e.zone, e.lane, e.slow && t('flag.slow'), e.kept && t('flag.kept'),
		utilization >= 0 && t('load.busy', { part: percent(utilization) }), others > 0 && t('load.others', { n: number(others) })].filter(Boolean);
	const title = [e.url, ...Object.entries(e.metadata || {}).map(([k, v]) => k + '=' + v)].join('\n');
	once(td, title + tags, () => [h('span', { class: 'mono', title }, e.label), tags.map((tag) => h('span', { class: 'tag' }, tag))]);
}

function stateCell(td, e) {
	const why = listed(e.word === 'ejected' && e.cause && said('cause.' + e.cause, e.cause), e.outlier,
		['breaker', 'outlier'].includes(e.cause) && Date.parse(e.until) > now() && t('until.in', { span: span(Date.parse(e.until) - now()) }), e.overrides.map(overrideWords));
	once(td, e.word, () => [worded(e.word, stateWord(e.word)), h('span', { class: 'since muted' }), h('span', { class: 'small muted block' })]);
	const [, time, rest] = td.children;
	text(time, since(e.since, now()));
	attr(time, 'title', clock(e.since));
	text(rest, why);
}

function probeCell(td, { probe: p }) {
	if (!p?.at) return text(td, '–');
	once(td, !p.error, () => [h('span', { class: p.error ? 'error' : 'muted' }), h('span', { class: 'small block error' })]);
	text(td.firstChild, t(p.error ? 'probe.failed' : 'probe.passed', { ago: since(p.at, now()), took: latency(p.took / 1e9) }));
	text(td.lastChild, p.error || '');
}
