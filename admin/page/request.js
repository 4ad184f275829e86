// The tab that tries a request: explain says what the proxy would do with it, send sends it through
// the proxy and says what became of it.

import { h, glyph, worded, mono, Table, small } from './dom.js';
import { post } from './api.js';
import { store } from './store.js';
import { stateWord, share } from './draw.js';
import { t, number, percent, latency } from './words.js';

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

export class TryRequest {
	constructor() {
		const input = (name, key, more) => h(name, { class: 'mono', spellcheck: 'false', autocomplete: 'off', 'aria-label': t(key), ...more });
		this.method = h('select', { 'aria-label': t('request.method') }, methods.map((m) => h('option', {}, m)));
		this.url = input('input', 'request.url', { required: true, value: '/', placeholder: 'https://api.example.com/v1/users/42' });
		this.fields = input('textarea', 'request.fields', { rows: '2', placeholder: 'X-User-Id: 7' });
		this.listener = input('input', 'request.listener', { placeholder: t('request.listener') });
		this.content = input('textarea', 'request.content', { rows: '2', placeholder: t('request.content') });
		this.send = h('button', { type: 'button', onclick: () => this.form.reportValidity() && this.ask('send', sent, { content: this.content.value }) }, t('request.send'));
		this.answer = h('div', { class: 'explained', 'aria-live': 'polite' }, h('p', { class: 'empty' }, t('request.hint')));
		this.form = h('form', { class: 'request', onsubmit: (e) => { e.preventDefault(); this.ask('explain', explained); } },
			h('div', { class: 'line' }, this.method, this.url, h('button', { class: 'primary' }, t('request.explain')), this.send), this.fields, this.listener, this.content);
		this.el = h('div', { class: 'card' }, this.form, this.answer);
		this.method.onchange = () => this.render();
	}

	async ask(what, show, more) {
		const fields = this.fields.value.split('\n').filter((l) => l.includes(':')).map((l) => {
			const at = l.indexOf(':', 1);
			return { name: l.slice(0, at).trim(), value: l.slice(at + 1).trim() };
		});
		this.send.disabled = true;
		const parts = await post(what, { method: this.method.value, url: this.url.value.trim(), fields, listener: this.listener.value.trim(), ...more })
			.then(show, (e) => [h('p', { class: 'empty', role: 'alert' }, e.message)]);
		this.answer.replaceChildren(...parts.filter(Boolean));
		this.send.disabled = false;
	}

	render() {
		this.send.hidden = store.overview?.role === 'view';
		this.content.hidden = this.send.hidden || ['GET', 'HEAD'].includes(this.method.value);
	}
}

const part = (title, ...content) => h('section', {}, h('h3', {}, title), ...content);
const lines = (list) => h('ul', { class: 'mono small' }, list.map((l) => h('li', {}, l)));
const place = (p) => p && h('span', { class: 'mono small muted place' }, p);
const yes = (is, a, b) => is ? glyph('ok', a) : glyph('ejected', b);

// tried is a list of what was tried, [is it taken, name, more …] each.
const tried = (list) => h('ul', { class: 'tried' }, list.map(([taken, name, ...more]) => h('li', { class: taken ? 'taken' : '' }, yes(taken, t('x.taken'), t('x.not')), h('b', {}, name), more)));

// table is a table that does not change; columns are {id: what a row has there}.
function table(name, rows, columns) {
	const it = new Table(name, Object.entries(columns).map(([id, make]) => ({ id, cell: (td, x) => td.replaceChildren(...[make(x, td)].flat().filter(Boolean)) })));
	it.show(rows.map((r, key) => ({ ...r, key })));
	return it.el;
}

const num = (value) => h('span', { class: 'num' }, String(value));
const ms = (nanoseconds) => num(latency(nanoseconds / 1e9));

// explained are the parts of an explanation that are known here; all of it is below, as JSON.
function explained(e) {
	const s = e.service, key = s?.hash_key, fair = Math.max(0, ...(s?.candidates || []).map((c) => c.expected));
	return [
		e.path.normal && part(t('x.path'), mono(e.path.normal)),
		e.reply && part(t('x.reply'), h('b', { class: 'num' }, e.reply.status + ' '), e.reply.message, h('span', { class: 'tag' }, e.reply.reason), h('p', { class: 'muted' }, e.reply.cause)),
		e.routes.length > 0 && part(t('x.routes'), tried(e.routes.map((r) => [r.taken, r.name, h('span', {}, '→ ' + r.leads), h('span', { class: 'muted' }, r.why), place(r.place)])),
		e.omitted > 0 && small(t('x.omitted', { n: number(e.omitted) }))),
		e.split && part(t('x.split'), tried(e.split.services.map((v) => [v.name === e.split.chosen, v.name, num(percent(v.share, 1))])), place(e.split.place)),
		e.forward && part(t('x.forward'), mono([e.forward.path, e.forward.query].filter(Boolean).join('?')),
			lines([e.forward.host && 'Host: ' + e.forward.host, ...e.forward.edits.map((x) => (x.do === 'add' ? '+ ' : '− ') + x.name + (x.value ? ': ' + x.value : ''))].filter(Boolean))),
		s && part(t('x.candidates', { service: s.name, policy: s.policy, draws: number(s.draws || 0) }),
			key && h('p', {}, t('x.key', { from: key.from, value: key.value || '–', owner: key.owner || '–', serves: key.serves || '–' })), place(s.place),
			s.lane && h('p', {}, `${s.lane.from || s.lane.labels.join(' ')}: ${s.lane.why}`), s.sticky && h('p', {}, `${s.sticky.cookie}: ${s.sticky.why}`),
			table('endpoints', s.candidates, {
				endpoint: (c) => mono(c.id), state: (c) => [worded(c.state, stateWord(c.state)), c.for && ' ' + c.for], weight: (c) => num(c.weight), in_flight: (c) => num(c.in_flight),
				latency: (c) => num(latency(c.latency_ms / 1000)), share: (c, td) => { const cell = h('span', { class: 'shares' }); share(cell, c.share, c.expected, fair); return cell; },
			})),
		e.retry?.cases && part(t('table.retry'), h('p', {}, e.retry.attempts, place(e.retry.place)),
			table('retry', e.retry.cases, { failure: (c) => c.failure, again: (c) => yes(c.repeated, t('yes'), t('no')), why: (c) => c.why })),
		e.limits.length > 0 && part(t('table.limits'),
			table('limits', e.limits, { limit: (l) => mono(l.name), value: (l) => num(l.value), means: (l) => l.means, origin: (l) => place(l.place) })),
		...(e.notes || []).map((n) => h('p', { class: 'muted' }, n)),
		h('details', {}, h('summary', {}, 'JSON'), h('pre', { tabindex: '0' }, JSON.stringify(e, null, 2))),
	];
}

// sent are the parts of what became of a request.
function sent(r) {
	return [
		part(t('s.answer'), h('p', { class: 'status' }, h('b', { class: r.status >= 500 || !r.status ? 'error' : 'num' }, r.status || t('s.none')), ' ', ms(r.took), ' · ', t('s.bytes', { n: number(r.bytes) }),
			r.reason && h('span', { class: 'tag' }, r.reason)), h('p', { class: 'error' }, r.cut),
		(r.route || r.service) && h('p', {}, [r.route, r.service].filter(Boolean).join(' → '))),
		r.attempts.length > 0 && part(t('table.attempts'), table('attempts', r.attempts, {
			endpoint: (a) => mono(a.endpoint), status: (a) => num(a.status || '–'), why: (a) => a.reason, start: (a) => ms(a.start), took: (a) => ms(a.took),
		})),
		r.fields.length > 0 && part(t('s.fields'), lines(r.fields.map((f) => f.name + ': ' + f.value))),
		r.bytes > 0 && part(t('s.content'), h('pre', { tabindex: '0' }, r.content ?? t('s.binary'))),
	];
}
