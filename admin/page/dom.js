// Elements and tables. Text only ever enters the page as text, never as markup, so that nothing a
// client, an endpoint or a registry sends can become script.

import { t } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element. Attributes that start with "on" are listeners; null and false leave one out.
export function h(name, attributes, ...children) {
  const el = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
    else if (key === 'class') el.className = value;
    else el.setAttribute(key, value === true ? '' : value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

// s makes an SVG element.
export function s(name, attributes, ...children) {
  const el = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) el.setAttribute(key, value);
  el.append(...children);
  return el;
}

// text sets the text of an element if it differs: an unchanged page costs no layout.
export function text(el, value) {
  value = String(value);
  if (el.said !== value) el.textContent = el.said = value;
}

// once calls make, and puts what it returns into el, only when key differs from last time.
export function once(el, key, make) {
  if (el.made === key) return;
  el.made = key;
  el.replaceChildren(...[make()].flat().filter(Boolean));
}

// attr sets an attribute if it differs; null removes it.
export function attr(el, name, value) {
  if (value === null) el.removeAttribute(name);
  else if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

// glyph is the sign of a state. The word stands beside it, or is read out.
export function glyph(state, word) {
  const el = s('svg', { class: 'g ' + state, 'aria-hidden': 'true' }, s('use', { href: '#g-' + state }));
  return word ? h('span', { title: word }, el, h('span', { class: 'sr' }, word)) : el;
}

// far is how many rows a table has before those that are out of sight are left as they are.
const far = 100;

// A Table keeps one row per key. Each column is {id, cell(td, item), sort(item), className}: cell
// fills a cell, each time anew; sort, if there is one, lets the head be pressed.
export class Table {
  constructor(name, columns, row) {
    this.columns = columns;
    this.row = row;
    this.rows = new Map();
    this.order = null; // {id, down}: what the head was pressed for; null: as the items come
    this.heads = columns.map((c) => this.head(name, c));
    this.body = h('tbody', { role: 'rowgroup' });
    this.sight = new IntersectionObserver((all) => {
      for (const { target, isIntersecting } of all) {
        target.away = !isIntersecting;
        if (isIntersecting) this.fill(target);
      }
    }, { rootMargin: '200px' });
    this.el = h('table', { role: 'table', class: name },
      h('caption', { class: 'sr' }, t('table.' + name)),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, this.heads)), this.body);
  }

  head(name, column) {
    const word = t('col.' + column.id);
    return h('th', { role: 'columnheader', scope: 'col', class: column.className },
      column.sort ? h('button', { onclick: () => this.press(column.id) }, word) : word);
  }

  // press sorts by a column, then the other way around, then not.
  press(id) {
    const o = this.order;
    this.order = !o || o.id !== id ? { id, down: true } : o.down ? { id, down: false } : null;
    this.heads.forEach((th, i) => attr(th, 'aria-sort', this.order && this.columns[i].id === this.order.id
      ? (this.order.down ? 'descending' : 'ascending') : null));
    this.update(this.items, this.key);
  }

  sorted(items) {
    if (!this.order) return items;
    const by = this.columns.find((c) => c.id === this.order.id).sort;
    const sign = this.order.down ? -1 : 1;
    return [...items].sort((a, b) => { const x = by(a), y = by(b); return sign * (x < y ? -1 : x > y ? 1 : 0); });
  }

  // update shows items; rows of the same key are kept, with their focus.
  update(items, key) {
    this.items = items;
    this.key = key;
    const gone = new Set(this.rows.keys());
    let next = this.body.firstChild;
    for (const item of this.sorted(items)) {
      const k = key(item);
      gone.delete(k);
      let row = this.rows.get(k);
      if (!row) this.rows.set(k, row = this.make());
      row.item = item;
      if (!row.away || items.length < far) this.fill(row);
      if (row === next) next = next.nextSibling;
      else this.body.insertBefore(row, next);
    }
    for (const k of gone) { this.sight.unobserve(this.rows.get(k)); this.rows.get(k).remove(); this.rows.delete(k); }
  }

  fill(row) {
    this.columns.forEach((c, i) => c.cell(row.cells[i], row.item));
    if (this.row) this.row(row, row.item);
  }

  make() {
    const row = h('tr', { role: 'row', tabindex: '-1' }, this.columns.map((c) =>
      h('td', { role: 'cell', class: c.className, 'data-label': t('col.' + c.id) })));
    this.sight.observe(row);
    return row;
  }
}
