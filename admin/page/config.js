// The tab of the configuration in force, with where each value is from.

import { h } from './dom.js';
import { ask } from './api.js';
import { store } from './store.js';
import { t } from './words.js';

export class Config {
  constructor() {
    this.el = h('div', { class: 'card' }, h('p', { class: 'empty' }, t('waiting')));
  }

  async load() {
    try {
      this.said = await ask('config');
      this.show();
    } catch (e) {
      this.el.replaceChildren(h('p', { class: 'empty' }, e.status === 404 ? t('config.missing') : e.message));
    }
  }

  // show finds values in the forms that the API gives them: lines, a text, or JSON.
  show() {
    const c = this.said, lines = c.values || c.settings;
    const head = h('p', { class: 'muted top' }, t('config.about', { generation: store.overview?.generation ?? '–', origin: store.overview?.origin || t('config.program') }));
    if (Array.isArray(lines)) {
      const search = this.search || '';
      this.el.replaceChildren(head, h('table', { role: 'table', class: 'config' }, h('caption', { class: 'sr' }, t('tab.config')),
        h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ['key', 'value', 'origin'].map((k) => h('th', { role: 'columnheader', scope: 'col' }, t('col.' + k))))),
        h('tbody', { role: 'rowgroup' }, lines.filter((l) => JSON.stringify(l).toLowerCase().includes(search)).map((l) => h('tr', { role: 'row', tabindex: '-1' },
          h('td', { role: 'cell', class: 'mono', 'data-label': t('col.key') }, l.key),
          h('td', { role: 'cell', class: 'mono', 'data-label': t('col.value') }, typeof l.value === 'string' ? l.value : JSON.stringify(l.value)),
          h('td', { role: 'cell', class: 'muted', 'data-label': t('col.origin') }, l.origin || l.place || ''))))));
      return;
    }
    const text = c.yaml || c.text || JSON.stringify(c.config || c, null, 2);
    this.el.replaceChildren(head, h('pre', { tabindex: '0', 'aria-label': t('tab.config') }, text));
  }

  // render reads it anew when the generation is another.
  render(search) {
    const generation = store.overview?.generation;
    if (generation !== this.generation) { this.generation = generation; this.load(); }
    if (search !== this.search) { this.search = search; if (this.said) this.show(); }
  }
}
