// The tab of routes: what each matches, where it leads, what it has counted.

import { h, Table, text, once } from './dom.js';
import { means, historyOf } from './store.js';
import { sparkline } from './draw.js';
import { errors, linkTo } from './services.js';
import { ask } from './api.js';
import { t, rate, percent, latency, number } from './words.js';

const again = 5e3; // ms between two readings of the totals

export class Routes {
  constructor() {
    this.items = null;
    const figure = (id, value, show) => ({ id, className: 'num', sort: value, cell: (td, r) => show(td, r) });
    this.table = new Table('routes', [
      { id: 'route', className: 'name', sort: (r) => r.name, cell: (td, r) => once(td, r.name, () => this.name(r)) },
      { id: 'leads', cell: (td, r) => once(td, r.service, () => r.service ? h('a', { href: linkTo(r.service), 'data-main': true }, r.service) : h('span', { class: 'muted' }, '–')) },
      figure('rps', (r) => r.means.rps, (td, r) => text(td, rate(r.means.rps))),
      figure('errors', (r) => r.means.errors, (td, r) => errors(td, r.means.errors, r.means.rps)),
      { id: 'spark', className: 'chart', cell: (td, r) => sparkline(td, historyOf('route ' + r.key).points) },
      figure('p50', (r) => r.means.p50, (td, r) => text(td, latency(r.means.p50))),
      figure('p99', (r) => r.means.p99, (td, r) => text(td, latency(r.means.p99))),
      figure('requests', (r) => r.requests, (td, r) => text(td, number(r.requests))),
      figure('errors.all', (r) => r.errors, (td, r) => text(td, r.errors ? `${number(r.errors)} (${percent(r.errors / r.requests, 2)})` : '0')),
    ]);
    this.empty = h('p', { class: 'empty' });
    this.el = h('div', { class: 'card' }, this.table.el, this.empty);
    this.load();
    this.timer = setInterval(() => this.load(), again);
  }

  close() { clearInterval(this.timer); }

  async load() {
    try {
      const said = await ask('routes');
      this.items = said.routes.map((r) => ({ ...r, key: r.name }));
      if (said.unmatched?.requests) this.items.push({ ...said.unmatched, key: '', name: t('unmatched'), service: '' });
      this.problem = '';
    } catch (e) { this.problem = e.message; }
    this.render(this.search || '');
  }

  name(r) {
    const match = [(r.methods || []).join(' '), (r.host || '') + (r.path || '')].filter(Boolean).join(' ');
    return [h('span', {}, r.name), match && match !== r.name && h('span', { class: 'mono small muted block' }, match)];
  }

  render(search) {
    this.search = search;
    const all = (this.items || []).filter((r) => [r.name, r.service, r.host, r.path].join(' ').toLowerCase().includes(search))
      .map((r) => ({ ...r, means: means('route ' + r.key) }));
    this.table.update(all, (r) => r.key + ' ' + r.index);
    this.table.el.hidden = !all.length;
    this.empty.hidden = all.length > 0;
    text(this.empty, this.problem || (!this.items ? t('waiting') : search ? t('nothing.found', { search }) : t('routes.none')));
  }
}
