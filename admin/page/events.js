// The tab of events: what has happened, the latest first.

import { h, Table, text, once, glyph } from './dom.js';
import { store } from './store.js';
import { t, said, clock, number } from './words.js';
import { linkTo } from './services.js';

const step = 200; // rows that are added at a time
const signs = { info: 'info', warn: 'warn', error: 'ejected' };

export class Events {
  constructor() {
    this.most = step;
    this.paused = null; // the events that are shown while it is
    this.table = new Table('events', [
      { id: 'time', className: 'num time', cell: (td, e) => text(td, clock(e.at)) },
      { id: 'level', className: 'level', cell: (td, e) => once(td, e.level, () => h('span', { class: 'word ' + e.level }, glyph(signs[e.level] || 'info'), t('level.' + e.level))) },
      { id: 'service', cell: (td, e) => once(td, e.service, () => e.service ? h('a', { href: linkTo(e.service), 'data-main': true }, e.service) : h('span', { class: 'muted' }, '–')) },
      { id: 'endpoint', className: 'mono', cell: (td, e) => text(td, (e.endpoint || '').replace(/^https?:\/\//, '')) },
      { id: 'what', className: 'what', cell: (td, e) => once(td, e.id, () => this.what(e)) },
    ]);
    const option = (v, word) => h('option', { value: v }, word);
    this.level = h('select', { onchange: () => this.render(this.search) }, option('', t('level.any')), ['info', 'warn', 'error'].map((l) => option(l, t('level.from.' + l))));
    this.service = h('select', { onchange: () => this.render(this.search) });
    this.pause = h('button', { class: 'quiet', 'aria-pressed': 'false', onclick: () => this.toggle() });
    this.more = h('button', { class: 'more', onclick: () => { this.most += step; this.render(this.search); } }, t('events.more'));
    this.empty = h('p', { class: 'empty' });
    this.el = h('div', { class: 'card' }, h('div', { class: 'tools' },
      h('label', {}, t('col.level'), ' ', this.level), h('label', {}, t('col.service'), ' ', this.service), this.pause), this.table.el, this.empty, this.more);
  }

  what(e) {
    const details = Object.entries(e.details || {}).sort().map(([k, v]) => `${k}=${/\s/.test(v) ? JSON.stringify(v) : v}`).join('  ');
    return [said('event.' + e.text.split(':')[0], e.text), details && h('span', { class: 'mono small muted' }, details)];
  }

  toggle() {
    this.paused = this.paused ? null : [...store.events];
    this.render(this.search);
  }

  render(search) {
    this.search = search;
    const names = Object.keys(store.tick?.states || {}).sort();
    once(this.service, names.join(), () => {
      const kept = this.service.value;
      return [h('option', { value: '' }, t('service.any')), ...names.map((n) => h('option', { value: n, selected: n === kept }, n))];
    });
    const levels = { info: 0, warn: 1, error: 2 }, least = levels[this.level.value] || 0;
    const from = this.paused || store.events, found = [];
    for (let i = from.length - 1; i >= 0; i--) {
      const e = from[i];
      if ((levels[e.level] || 0) < least || (this.service.value && e.service !== this.service.value)) continue;
      if (search && ![e.service, e.endpoint, e.text, JSON.stringify(e.details || '')].join(' ').toLowerCase().includes(search)) continue;
      found.push(e);
    }
    this.table.update(found.slice(0, this.most), (e) => e.id);
    this.table.el.hidden = !found.length;
    this.empty.hidden = found.length > 0;
    text(this.empty, t('events.none'));
    this.more.hidden = found.length <= this.most;
    const missed = this.paused && store.events.length ? store.events.filter((e) => e.id > (this.paused.at(-1)?.id || 0)).length : 0;
    text(this.pause, this.paused ? t('resume', { n: number(missed) }) : t('pause'));
    this.pause.setAttribute('aria-pressed', String(!!this.paused));
  }
}
