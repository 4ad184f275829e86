// The tabs that are a list: services, routes, events, overrides, configuration.

import { h, Table, text, once, glyph, attr, worded, mono, small } from './dom.js';
import { store, now, means, problems } from './store.js';
import { sparkline, states } from './draw.js';
import { t, said, listed, rate, percent, latency, number, clock, since } from './words.js';
import { ask } from './api.js';
import { changeDialog } from './dialogs.js';

// figure is a column of numbers; zero is quiet.
export const figure = (id, show) => ({
	id, className: 'num', sort: (x) => x[id], cell: (td, x) => {
		text(td, show(x[id], x));
		td.classList.toggle('muted', !x[id]);
		td.classList.toggle('failing', id === 'errors' && x[id] >= 0.01);
	},
});

// figures are those of everything that has requests: what means returns.
export const figures = [
	figure('rps', rate), figure('errors', (part, x) => part || x.rps ? percent(part, 2) : '–'),
	figure('p50', latency), figure('p99', latency), figure('in_flight', (n) => number(n)),
];
const spark = { id: 'spark', className: 'chart', cell: (td, x) => sparkline(td, x.points) };

const linkTo = (name) => name ? h('a', { href: '#/services/' + encodeURIComponent(name), 'data-main': true }, name) : small('–');
export const link = { id: 'service', sort: (x) => x.service, cell: (td, x) => once(td, x.service || '', () => (x.service || '').split(/, */).map((name, i) => [i > 0 && ', ', linkTo(name)])) }; // a split leads to several
const plain = (id, className = 'mono') => ({ id, className, cell: (td, x) => text(td, x[id] || '–') });

// findable is what the search looks into: find of an item, or all texts that it has.
const findable = (x) => x.find ?? Object.values(x).filter((v) => typeof v === 'string').join(' ');

// A List is a card with one table. items returns what there is, null while that is not known; each
// item has a key.
export class List {
	constructor(name, columns, tools, row) {
		this.name = name;
		this.table = new Table(name, columns, row);
		this.el = h('div', { class: 'card' }, tools, this.table.el);
	}

	// poll asks now and then for what the stream does not say.
	poll(path, ms) {
		const load = async () => {
			try {
				this.said = await ask(path);
				this.problem = '';
			} catch (e) { this.problem = e.message; }
			if (this.el.isConnected) this.render(); // else another tab was opened meanwhile
		};
		clearInterval(this.timer);
		this.timer = setInterval(load, ms);
		return load();
	}

	close() { clearInterval(this.timer); }

	render(search = this.search || '') {
		this.search = search;
		const all = this.items(), found = (all || []).filter((x) => findable(x).toLowerCase().includes(search));
		this.table.show(found, this.problem || (!all ? t('waiting') : search ? t('nothing.found', { search }) : t('none.' + this.name)));
	}
}

export class Services extends List {
	constructor() {
		super('services', [
			{ id: 'service', className: 'name', sort: (x) => x.key, cell: (td, x) => once(td, x.severity, () => [
				x.severity ? glyph('warn ' + (x.severity > 1 ? 'bad' : ''), t('attention')) : h('span', { class: 'g' }), linkTo(x.key)]) },
			...figures.slice(0, 2), spark, ...figures.slice(2),
			{ id: 'endpoints', className: 'states', sort: (x) => x.words.length, cell: (td, x) => states(td, x.words) },
		]);
	}

	// items has those with a problem first.
	items() {
		const worst = {};
		for (const p of problems()) worst[p.service] = Math.max(worst[p.service] || 0, p.severity);
		return store.tick && Object.entries(store.tick.states)
			.map(([name, words]) => ({ key: name, words: words || [], severity: worst[name] || 0, ...means('service ' + name) }))
			.sort((a, b) => b.severity - a.severity || (a.key < b.key ? -1 : 1));
	}
}

export class Routes extends List {
	constructor() {
		super('routes', [
			{ id: 'route', className: 'name', sort: (x) => x.name, cell: (td, x) => once(td, x.name, () => [h('span', {}, x.name), x.match !== x.name && h('span', { class: 'mono small muted block' }, x.match)]) },
			link, ...figures.slice(0, 2), spark, ...figures.slice(2, 4), figure('requests', (n) => number(n)),
			figure('failed', (n, x) => n ? `${number(n)} (${percent(n / x.requests, 2)})` : '0'),
		]);
		this.poll('routes', 5e3);
	}

	items() {
		const all = this.said && [...this.said.routes];
		if (this.said?.unmatched.requests) all.push({ ...this.said.unmatched, label: t('unmatched'), name: '' });
		return all?.map((r) => ({
			key: r.name + ' ' + r.index, name: r.label || r.name, match: r.grpc ? ['gRPC', r.host, r.grpc].filter(Boolean).join(' ') : [...(r.methods || []), (r.host || '') + (r.path || '')].join(' '), service: r.service,
			requests: r.requests, failed: r.errors, ...means('route ' + r.name),
		}));
	}
}

const levels = ['info', 'warn', 'error'];
const signs = { info: 'info', warn: 'warn', error: 'ejected' };

export class Events extends List {
	constructor() {
		const select = (key, choice) => h('label', {}, t('col.' + key), ' ', choice);
		const level = h('select', { onchange: () => this.render() }, levels.map((l) => h('option', { value: l }, t('from.' + l))));
		const service = h('select', { onchange: () => this.render() });
		const pause = h('button', { onclick: () => { this.paused = this.paused ? null : [...store.events]; this.render(); } });
		super('events', [
			{ id: 'time', className: 'num time', cell: (td, e) => text(td, clock(e.at)) },
			{ id: 'level', className: 'level', cell: (td, e) => once(td, e.level, () => worded(e.level, t('level.' + e.level), signs[e.level])) },
			link, plain('endpoint'),
			{ id: 'what', className: 'what', cell: (td, e) => once(td, e.id, () => [said('event.' + e.text.split(':')[0], e.text), e.more && h('span', { class: 'mono small muted' }, e.more)]) },
		], h('div', { class: 'tools' }, select('level', level), select('service', service), pause));
		Object.assign(this, { level, service, pause, paused: null });
	}

	items() {
		const least = levels.indexOf(this.level.value), only = this.service.value;
		return (this.paused || store.events).filter((e) => levels.indexOf(e.level) >= least && (!only || e.service === only)).reverse().map((e) => {
			const more = Object.entries(e.details || {}).sort().map(([k, v]) => `${k}=${/\s/.test(v) ? JSON.stringify(v) : v}`).join('  ');
			return { ...e, endpoint: e.endpoint?.replace(/^https?:\/\//, ''), more };
		});
	}

	render(search) {
		const names = Object.keys(store.tick?.states || {}).sort(), chosen = this.service.value;
		once(this.service, names.join(), () => ['', ...names].map((n) => h('option', { value: n, selected: n === chosen }, n || t('all'))));
		const seen = this.paused?.at(-1)?.id || 0;
		text(this.pause, this.paused ? t('resume', { n: number(store.events.filter((e) => e.id > seen).length) }) : t('pause'));
		attr(this.pause, 'aria-pressed', String(!!this.paused));
		super.render(search);
	}
}

// overrideWords say what an override does, who made it and why, and until when.
export const overrideWords = (o) => listed(t('override.' + o.kind, o), o.who, o.why, o.until && t('until', { at: clock(o.until) }));

export class Overrides extends List {
	constructor() {
		const copied = h('span', { role: 'status', class: 'muted' }), yaml = h('pre', { tabindex: '0' });
		const copy = h('button', { onclick: () => navigator.clipboard.writeText(yaml.textContent).then(() => text(copied, t('copied')), (e) => text(copied, e.message)) }, t('copy'));
		super('overrides', [
			link,
			{ id: 'endpoint', className: 'name', cell: (td, o) => once(td, o.endpoint + o.absent, () => [mono(o.endpoint), o.absent && h('span', { class: 'tag' }, t('absent'))]) },
			{ id: 'override', cell: (td, o) => text(td, overrideWords(o)) },
			{ id: 'since', className: 'num', cell: (td, o) => text(td, since(o.made, now())) },
			{ id: 'actions', className: 'actions', cell: (td, o) => {
				td.of = o;
				if (store.overview?.role !== 'view') once(td, 'remove', () => h('button', { 'data-main': true, 'aria-label': `${t('remove')} ${o.endpoint}`, onclick: () => this.remove(td.of) }, t('remove')));
			} },
		]);
		this.yaml = yaml;
		this.foot = h('div', { class: 'yaml' }, h('div', { class: 'tools' }, h('span', { class: 'muted' }, t('yaml')), copied, copy), yaml);
		this.el.append(this.foot);
		this.load();
	}

	load() { return this.poll('overrides', 2e3); }

	remove(o) { changeDialog(o.service, o.endpoint, ['un' + o.kind], {}, () => this.load()); }

	items() {
		this.foot.hidden = !this.said?.overrides.length;
		text(this.yaml, this.said?.yaml || '');
		return this.said?.overrides.map((o) => ({ ...o, key: [o.service, o.endpoint, o.kind].join(' '), find: [o.service, o.endpoint, overrideWords(o)].join(' ') }));
	}
}

export class Config extends List {
	constructor() {
		const about = h('p', { class: 'muted' });
		super('config', [plain('path', 'mono name'), plain('value'), plain('origin', 'mono muted')], h('div', { class: 'tools' }, about));
		this.about = about;
	}

	// items are read anew when the generation is another.
	items() {
		const generation = store.overview?.generation;
		if (generation !== this.generation) { this.generation = generation; this.poll('config', 6e4); }
		text(this.about, t('config.about', { generation: this.said?.generation ?? '–', origin: this.said?.origin || t('config.program') }));
		return this.said?.values.map((v) => ({ ...v, origin: v.origin === 'default' ? t('default') : v.origin, key: v.path }));
	}
}
