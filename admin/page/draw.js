// The drawings of the page: sparkline, bar of states, share, timeline of health. Colours come from
// the style sheet by class; each drawing has its meaning in words beside it or as its label.

import { h, s, attr, glyph, once } from './dom.js';
import { bins, now } from './store.js';
import { t, span, rate, number } from './words.js';

// order is that of states in bars and chips: what is well first.
export const order = ['healthy', 'probing', 'half-open', 'held', 'damped', 'draining', 'out', 'ejected'];

export const stateWord = (word) => t('state.' + word);

// count counts words of states.
export function count(words) {
  const n = new Map();
  for (const w of words) n.set(w, (n.get(w) || 0) + 1);
  return order.filter((w) => n.has(w)).map((w) => [w, n.get(w)]);
}

// sparkline draws requests a second of five minutes, and on top those that failed.
export function sparkline(el, points, wide = 120, high = 22) {
  let svg = el.firstChild;
  if (!svg) {
    svg = s('svg', { class: 'spark', viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'none', role: 'img' },
      s('path', { class: 'area' }), s('path', { class: 'line' }), s('path', { class: 'bad' }));
    el.append(svg);
  }
  const last = points.length ? points.at(-1).at : 0;
  let most = 0;
  for (const p of points) most = Math.max(most, p.rps / p.n);
  const x = (p) => (wide * (p.at - last + bins - 1) / (bins - 1)).toFixed(1);
  const y = (v) => (high - 1 - (high - 3) * (most ? v / most : 0)).toFixed(1);
  let line = '', bad = '';
  points.forEach((p, i) => {
    line += (i ? 'L' : 'M') + x(p) + ' ' + y(p.rps / p.n);
    if (p.errors > 0) bad += `M${x(p)} ${high}V${Math.min(y(p.errors / p.n), high - 2)}`;
  });
  const [area, stroke, errors] = svg.children;
  attr(stroke, 'd', line);
  attr(area, 'd', points.length > 1 ? `${line}L${wide} ${high}L${x(points[0])} ${high}Z` : '');
  attr(errors, 'd', bad);
  attr(svg, 'aria-label', t('spark.label', { most: rate(most) }));
}

// states shows the endpoints of a service: few as signs, many as a bar; and how many are usable.
export function states(el, words) {
  once(el, words.join(), () => {
    const counts = count(words), healthy = words.filter((w) => w === 'healthy' || w === 'held').length;
    const others = counts.filter(([w]) => w !== 'healthy').map(([w, n]) => number(n) + ' ' + stateWord(w)).join(' · ');
    const signs = words.length <= 10 ? h('span', { class: 'signs' }, words.map((w) => glyph(w)))
      : h('span', { class: 'bar' }, counts.map(([w, n]) => {
        const part = h('i', { class: w });
        part.style.setProperty('flex-grow', n);
        return part;
      }));
    return [signs, h('span', { class: 'num' }, t('of', { n: number(healthy), all: number(words.length) })),
      others && h('span', { class: 'muted small' }, others)];
  });
}

// share is a bar of the share an endpoint gets, with a mark at what its weight would give. Its full
// width is twice the largest fair share of the service: differences are seen with 2 endpoints and
// with 1,000.
export function share(el, got, expected, fair) {
  let bar = el.firstChild;
  if (!bar) el.append(bar = h('span', { class: 'share', 'aria-hidden': 'true' }, h('i'), h('b')));
  const full = Math.min(1, 2 * fair || 1);
  bar.style.setProperty('--got', Math.round(100 * Math.min(1, got / full)) + '%');
  bar.style.setProperty('--fair', Math.round(100 * expected / full) + '%');
  attr(bar, 'class', 'share' + (expected ? '' : ' none'));
}

const hour = 36e5;

// spans are the states of an endpoint in the last hour: [{state, from, to}], in ms.
export function spans(changes, until) {
  const from = until - hour;
  return (changes || []).map((c, i) => ({
    state: c.state, cause: c.cause,
    from: Math.max(from, Date.parse(c.at)), to: i + 1 < changes.length ? Date.parse(changes[i + 1].at) : until,
  })).filter((c) => c.to > from);
}

// timeline draws them: low where it was healthy, high where it was ejected.
export function timeline(el, changes) {
  const until = Math.ceil(now() / 15e3) * 15e3;
  once(el, until + ':' + (changes?.length || 0) + (changes?.[0]?.at || ''), () => {
    const all = spans(changes, until), out = all.filter((c) => c.state === 'ejected');
    const label = out.length ? t('timeline.out', { span: span(out.reduce((sum, c) => sum + c.to - c.from, 0)) }) : t('timeline.well');
    const x = (at) => 360 * (at - until + hour) / hour;
    const parts = all.map((c) => {
      const high = { healthy: 5, ejected: 14 }[c.state] || 9;
      return s('rect', { class: c.state, x: x(c.from).toFixed(1), width: Math.max(1.5, x(c.to) - x(c.from)).toFixed(1), y: 14 - high, height: high });
    });
    return s('svg', { class: 'timeline', viewBox: '0 0 360 14', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
      s('title', {}), s('rect', { class: 'base', x: 0, y: 13, width: 360, height: 1 }), ...parts);
  });
}
