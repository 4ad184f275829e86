// Elements and tables. Text only ever enters the page as text, never as markup, so that nothing a
// client, an endpoint or a registry sends can become script.

import { t, number } from './words.js';

// present leaves out what a condition has left out.
const present = (list) => list.flat(2).filter((c) => c !== null && c !== undefined && c !== false);

function build(el, attributes, children) {
	for (const [key, value] of Object.entries(attributes || {})) {
		if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
		else if (present([value]).length) el.setAttribute(key, value === true ? '' : value);
	}
	el.append(...present(children));
	return el;
}

// h makes an element, s one of SVG. Attributes that start with "on" are listeners.
export const h = (name, attributes, ...children) => build(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => build(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);

// text sets the text of an element if it differs: an unchanged page costs no layout.
export function text(el, value) {
	if (el.said !== String(value)) el.textContent = el.said = String(value);
}

// once calls make, and puts what it returns into el, only when key differs from last time.
export function once(el, key, make) {
	if (el.made === key) return;
	el.made = key;
	el.replaceChildren(...present([make()]));
}

// attr sets an attribute if it differs; null removes it.
export function attr(el, name, value) {
	if (value === null) el.removeAttribute(name);
	else if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

// glyph is the sign of a state; word is read out.
export function glyph(state, word) {
	const el = s('svg', { class: 'g ' + state, 'aria-hidden': 'true' }, s('use', { href: '#g-' + state }));
	return word ? h('span', { title: word }, el, h('span', { class: 'sr' }, word)) : el;
}

// worded is a sign with its word beside it.
export const worded = (state, word, sign = state) => h('span', { class: 'word ' + state }, glyph(sign), word);

export const mono = (...content) => h('span', { class: 'mono' }, ...content);
export const small = (...content) => h('span', { class: 'small muted' }, ...content);

const far = 100; // with so many rows those that are out of sight are left as they are
const most = 250; // rows that are shown at first

// A Table keeps one row per key. Each column is {id, cell(td, item), sort(item), className}: cell
// fills a cell, each time anew; sort, if there is one, lets the head be pressed. Items have a key.
// Roles are said although the elements imply them: on phones the style takes them away.
export class Table {
	constructor(name, columns, row) {
		Object.assign(this, { columns, row, rows: new Map(), most });
		this.heads = columns.map((c) => {
			const word = t('col.' + c.id);
			return h('th', { role: 'columnheader', scope: 'col', class: c.className }, c.sort ? h('button', { onclick: () => this.press(c) }, word) : word);
		});
		this.body = h('tbody', { role: 'rowgroup' });
		this.table = h('table', { role: 'table', class: name }, h('caption', { class: 'sr' }, t('table.' + name)),
			h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, this.heads)), this.body);
		this.empty = h('p', { class: 'empty' });
		this.more = h('button', { class: 'more', hidden: true, onclick: () => { this.most = Infinity; this.show(this.items); } });
		this.el = h('div', {}, this.table, this.empty, this.more);
		this.sight = new IntersectionObserver((all) => {
			for (const { target, isIntersecting } of all) {
				target.away = !isIntersecting;
				if (isIntersecting) this.fill(target);
			}
		}, { rootMargin: '200px' });
	}

	// press sorts by a column, then the other way around, then not.
	press(c) {
		[this.by, this.down] = this.by !== c ? [c, true] : this.down ? [c, false] : [];
		this.heads.forEach((th, i) => attr(th, 'aria-sort', this.columns[i] !== this.by ? null : this.down ? 'descending' : 'ascending'));
		this.show(this.items);
	}

	// show shows items, or the word for none; rows of the same key are kept, with their focus.
	show(items, none = '') {
		this.items = items;
		const sign = this.down ? -1 : 1, by = this.by?.sort;
		const all = by ? [...items].sort((a, b) => { const x = by(a), y = by(b); return sign * (x < y ? -1 : x > y); }) : items;
		const gone = new Set(this.rows.keys());
		let next = this.body.firstChild;
		for (const item of all.slice(0, this.most)) {
			gone.delete(item.key);
			let row = this.rows.get(item.key);
			if (!row) this.rows.set(item.key, row = this.make());
			row.item = item;
			if (!row.away || items.length < far) this.fill(row);
			if (row === next) next = next.nextSibling;
			else this.body.insertBefore(row, next);
		}
		for (const key of gone) { this.sight.unobserve(this.rows.get(key)); this.rows.get(key).remove(); this.rows.delete(key); }
		this.table.hidden = !items.length;
		this.empty.hidden = items.length > 0;
		text(this.empty, none);
		this.more.hidden = items.length <= this.most;
		text(this.more, t('more', { n: number(items.length) }));
	}

	fill(row) {
		this.columns.forEach((c, i) => c.cell(row.cells[i], row.item));
		this.row?.(row, row.item);
	}

	make() {
		const row = h('tr', { role: 'row', tabindex: '-1' }, this.columns.map((c) => h('td', { role: 'cell', class: c.className, 'data-label': t('col.' + c.id) })));
		this.sight.observe(row);
		return row;
	}
}
