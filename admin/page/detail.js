// One service with its endpoints: what each is doing, since when, and why; and what an operator
// may do about it.

import { h, Table, text, once, attr, glyph } from './dom.js';
import { store, means, historyOf, now, takeDetail } from './store.js';
import { sparkline, share, timeline, count, order, stateWord } from './draw.js';
import { t, said, rate, percent, latency, number, span, clock } from './words.js';
import { errors } from './services.js';
import { changeDialog } from './change.js';
import { ask } from './api.js';

const few = 100; // rows that are shown at first

// overridesOf are those in force at an endpoint.
export const overridesOf = (e) => e.overrides || [];

const overridden = (e, kind) => overridesOf(e).find((o) => o.kind === kind);

export class Detail {
  constructor(service) {
    this.service = service;
    this.all = false;
    this.only = ''; // a state
    this.table = new Table('endpoints', [
      { id: 'endpoint', className: 'name', sort: (e) => e.label, cell: (td, e) => this.endpoint(td, e) },
      { id: 'state', className: 'state', sort: (e) => order.indexOf(e.word), cell: (td, e) => this.state(td, e) },
      { id: 'share', className: 'shares', sort: (e) => e.share, cell: (td, e) => this.share(td, e) },
      { id: 'inflight', className: 'num', sort: (e) => e.in_flight, cell: (td, e) => { text(td, number(e.in_flight)); td.classList.toggle('muted', !e.in_flight); } },
      { id: 'p50', className: 'num', sort: (e) => e.p50, cell: (td, e) => text(td, latency(e.p50)) },
      { id: 'p99', className: 'num', sort: (e) => e.p99, cell: (td, e) => text(td, latency(e.p99)) },
      { id: 'timeline', className: 'chart', cell: (td, e) => timeline(td, e.changes) },
      { id: 'probe', className: 'probe', cell: (td, e) => this.probe(td, e) },
      { id: 'actions', className: 'actions', cell: (td, e) => this.actions(td, e) },
    ], (row, e) => { attr(row, 'class', e.word); row.drain = () => this.change(e, 'drain'); });
    this.facts = h('dl', { class: 'figures' }, ['rps', 'errors', 'p50', 'p99', 'inflight'].map((id) => h('div', {}, h('dt', {}, t('col.' + id)), h('dd', { class: 'num' }))));
    this.chart = h('div', { class: 'big' });
    this.notes = h('p', { class: 'muted' });
    this.chips = h('p', { class: 'chips', role: 'group', 'aria-label': t('chips.title') });
    this.more = h('button', { class: 'more', onclick: () => { this.all = true; this.render(this.search); } });
    this.empty = h('p', { class: 'empty' });
    this.el = h('div', { class: 'card' },
      h('div', { class: 'top' }, h('a', { href: '#/services', class: 'back' }, '‹ ' + t('tab.services')), h('h2', {}, service), this.notes),
      h('div', { class: 'summary' }, this.facts, this.chart), this.chips, this.table.el, this.empty, this.more);
    this.load();
  }

  // load fills the page before the first tick.
  async load() {
    try {
      const s = await ask('services/' + encodeURIComponent(this.service));
      if (!store.detail) takeDetail(s, Object.fromEntries((s.endpoints || []).map((e) => [e.label, e])), now());
    } catch (e) { this.problem = e.status === 404 ? e.message : ''; }
    this.render(this.search || '');
  }

  endpoint(td, e) {
    const tags = [(overridden(e, 'weight') || e).weight !== 1 && t('weight.tag', { n: (overridden(e, 'weight') || e).weight }), e.zone, e.slow && t('flag.slow'), e.kept && t('flag.kept')].filter(Boolean);
    const metadata = Object.entries(e.metadata || {}).map(([k, v]) => k + '=' + v).join('\n');
    once(td, e.label + tags + metadata, () => [h('span', { class: 'mono', title: [e.url, metadata].filter(Boolean).join('\n') }, e.label),
      ...tags.map((tag) => h('span', { class: 'tag' }, tag))]);
  }

  state(td, e) {
    const over = overridesOf(e);
    const why = [e.word === 'ejected' && e.cause && said('cause.' + e.cause, e.cause),
      e.cause === 'breaker' && e.until && Date.parse(e.until) > now() && t('until.in', { span: span(Date.parse(e.until) - now()) }),
      ...over.map((o) => t('override.' + o.kind, o) + (o.who ? ' · ' + o.who : '') + (o.why ? ' · ' + o.why : '') +
        (o.until ? ' · ' + t('until', { at: clock(o.until) }) : ''))].filter(Boolean).join(' · ');
    once(td, e.word, () => [h('span', { class: 'word ' + e.word }, glyph(e.word), stateWord(e.word)), h('span', { class: 'since muted' }), h('span', { class: 'small muted block' })]);
    const [, since, more] = td.children;
    text(since, span(now() - Date.parse(e.since)));
    attr(since, 'title', clock(e.since));
    text(more, why);
    more.hidden = !why;
  }

  share(td, e) {
    if (!td.firstChild) td.append(h('span', { class: 'num' }), h('span', { class: 'at' }), h('span', { class: 'num muted' }));
    const [got, bar, fair] = td.children, digits = Math.max(e.share, e.expected) < 0.0995 ? 1 : 0;
    text(got, percent(e.share, digits));
    text(fair, percent(e.expected, digits));
    share(bar, e.share, e.expected, this.fair);
  }

  probe(td, e) {
    const p = e.probe;
    if (!p?.at) return once(td, '', () => h('span', { class: 'muted' }, '–'));
    once(td, 'probe', () => [h('span'), h('span', { class: 'small block error' })]);
    const ago = t(p.error ? 'probe.failed' : 'probe.passed', { ago: span(Math.max(0, now() - Date.parse(p.at))), took: latency(p.took / 1e9) });
    text(td.children[0], ago);
    text(td.children[1], p.error || '');
    td.children[0].className = p.error ? 'error' : 'muted';
    td.children[1].hidden = !p.error;
  }

  actions(td, e) {
    if (store.overview?.role === 'view') return;
    if (!td.firstChild) {
      td.append(h('button', { class: 'quiet', 'data-main': true, onclick: () => this.change(td.endpoint, '') }, t('change')));
    }
    td.endpoint = e;
    attr(td.firstChild, 'aria-label', t('change.of', { endpoint: e.label }));
  }

  change(e, kind) { changeDialog(this.service, e, kind); }

  render(search) {
    this.search = search;
    const d = store.detail, endpoints = d?.endpoints || [], m = means(this.service);
    const cells = [...this.facts.querySelectorAll('dd')];
    [rate(m.rps), '', latency(m.p50), latency(m.p99), number(m.inFlight)].forEach((v, i) => v && text(cells[i], v));
    errors(cells[1], m.errors, m.rps);
    sparkline(this.chart, historyOf(this.service).points, 480, 44);
    text(this.notes, d ? this.about(d) : '');
    this.filters(endpoints);
    const found = endpoints.filter((e) => (!this.only || e.word === this.only) && (!search || (e.label + ' ' + (e.zone || '') + JSON.stringify(e.metadata || '')).toLowerCase().includes(search)))
      .sort((a, b) => order.indexOf(b.word) - order.indexOf(a.word) || (a.label < b.label ? -1 : 1));
    this.fair = Math.max(0, ...endpoints.map((e) => e.expected));
    const shown = this.all ? found : found.slice(0, few);
    this.table.update(shown, (e) => e.label);
    this.table.el.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    text(this.empty, this.problem || (!d ? t('waiting') : search || this.only ? t('nothing.found', { search: search || stateWord(this.only) }) : t('endpoints.none')));
    this.more.hidden = shown.length === found.length;
    text(this.more, t('more', { n: number(found.length) }));
  }

  // about says in one line what is known of the service.
  about(d) {
    return [d.policy, d.source?.kind, d.source?.stale && t('p.stale'), d.panic && t('p.panic'), d.last_resort && t('p.last-resort'), d.fault].filter(Boolean).join(' · ');
  }

  // filters are buttons, one for each state that there is.
  filters(endpoints) {
    const counts = count(endpoints.map((e) => e.word));
    if (this.only && !counts.some(([w]) => w === this.only)) this.only = '';
    once(this.chips, counts.join() + this.only, () => counts.map(([w, n]) => h('button', {
      class: 'chip', 'aria-pressed': String(this.only === w), 'data-state': w,
      onclick: () => { this.only = this.only === w ? '' : w; this.render(this.search); this.chips.querySelector(`[data-state="${w}"]`)?.focus(); },
    }, glyph(w), stateWord(w), h('b', { class: 'num' }, number(n)))));
  }
}
