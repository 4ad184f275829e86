// The tab of services: one line each, those with a problem first.

import { h, Table, text, once, glyph } from './dom.js';
import { store, means, historyOf, problems } from './store.js';
import { sparkline, states } from './draw.js';
import { t, rate, percent, latency, number } from './words.js';

export const linkTo = (name) => '#/services/' + encodeURIComponent(name);

// errors shows the part of requests that failed; none is quiet.
export function errors(td, part, rps) {
  text(td, rps || part ? percent(part, 2) : '–');
  td.classList.toggle('failing', part >= 0.01);
  td.classList.toggle('muted', part === 0);
}

export class Services {
  constructor() {
    const figure = (id, value, show) => ({ id, className: 'num', sort: (s) => value(s.means), cell: (td, s) => show(td, s.means) });
    this.table = new Table('services', [
      { id: 'service', className: 'name', sort: (s) => s.name, cell: (td, s) => this.name(td, s) },
      figure('rps', (m) => m.rps, (td, m) => { text(td, rate(m.rps)); td.classList.toggle('muted', !m.rps); }),
      figure('errors', (m) => m.errors, (td, m) => errors(td, m.errors, m.rps)),
      { id: 'spark', className: 'chart', cell: (td, s) => sparkline(td, historyOf(s.name).points) },
      figure('p50', (m) => m.p50, (td, m) => text(td, latency(m.p50))),
      figure('p99', (m) => m.p99, (td, m) => text(td, latency(m.p99))),
      figure('inflight', (m) => m.inFlight, (td, m) => { text(td, number(m.inFlight)); td.classList.toggle('muted', !m.inFlight); }),
      { id: 'endpoints', className: 'states', sort: (s) => s.words.length, cell: (td, s) => states(td, s.words) },
    ]);
    this.empty = h('p', { class: 'empty' });
    this.el = h('div', { class: 'card' }, this.table.el, this.empty);
  }

  name(td, s) {
    once(td, s.name + s.severity, () => [
      s.severity ? glyph('warn', t('attention')) : h('span', { class: 'g' }), h('a', { href: linkTo(s.name), 'data-main': true }, s.name)]);
    td.firstChild.classList.toggle('bad', s.severity > 1);
  }

  render(search) {
    const worst = new Map();
    for (const p of problems()) if (p.service) worst.set(p.service, Math.max(worst.get(p.service) || 0, p.severity));
    const all = Object.entries(store.tick?.states || {}).filter(([name]) => name.toLowerCase().includes(search))
      .map(([name, words]) => ({ name, words: words || [], means: means(name), severity: worst.get(name) || 0 }))
      .sort((a, b) => b.severity - a.severity || (a.name < b.name ? -1 : 1));
    this.table.update(all, (s) => s.name);
    this.table.el.hidden = !all.length;
    this.empty.hidden = all.length > 0;
    text(this.empty, !store.tick ? t('waiting') : search ? t('nothing.found', { search }) : t('services.none'));
  }
}
