// The tab of the configuration in force, with where each value is written.

import { h, Table, text } from './dom.js';
import { ask } from './api.js';
import { store } from './store.js';
import { t } from './words.js';

export class Config {
  constructor() {
    const column = (id, className) => ({ id, className, cell: (td, v) => text(td, v[id] === 'default' ? t('default') : v[id] || '–') });
    this.table = new Table('config', [column('path', 'mono name'), column('value', 'mono'), column('origin', 'mono muted')]);
    this.about = h('p', { class: 'muted' });
    this.empty = h('p', { class: 'empty' });
    this.el = h('div', { class: 'card' }, h('div', { class: 'tools' }, this.about), this.table.el, this.empty);
  }

  async load() {
    try {
      this.said = await ask('config');
      this.problem = '';
    } catch (e) { this.problem = e.status === 404 ? t('config.missing') : e.message; }
    this.render(this.search);
  }

  // render reads it anew when the generation is another.
  render(search) {
    this.search = search;
    const generation = store.overview?.generation;
    if (generation !== this.generation) { this.generation = generation; this.load(); }
    const found = (this.said?.values || []).filter((v) => `${v.path} ${v.value} ${v.origin || ''}`.toLowerCase().includes(search));
    text(this.about, t('config.about', { generation: this.said?.generation ?? '–', origin: this.said?.origin || t('config.program') }));
    this.table.update(found, (v) => v.path);
    this.table.el.hidden = !found.length;
    this.empty.hidden = found.length > 0;
    text(this.empty, this.problem || (this.said ? t('nothing.found', { search }) : t('waiting')));
  }
}
