// Dialogs: a change of an endpoint, which is asked for twice, and the token.

import { h, text } from './dom.js';
import { t } from './words.js';
import { store } from './store.js';
import { change, overridePath, token } from './api.js';
import { overridesOf } from './detail.js';

const ends = { '10m': 10, '30m': 30, '2h': 120, '24h': 1440, '': 0 };

// open shows a dialog; Esc and the button "cancel" close it, and the focus goes back.
function open(title, ...content) {
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() }, h('h2', { id: 'dialog-title' }, title), ...content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

const cancel = () => h('button', { type: 'button', class: 'quiet', onclick: (e) => e.target.closest('dialog').close() }, t('cancel'));
const row = (label, input) => h('label', { class: 'field' }, h('span', {}, label), input);

// kindsFor are the changes that make sense for an endpoint as it is.
function kindsFor(e) {
  const has = (kind) => overridesOf(e).some((o) => o.kind === kind);
  return [has('drain') ? 'undrain' : 'drain', 'weight', has('weight') && 'unweight', e.word === 'ejected' ? 'admit' : 'eject'].filter(Boolean);
}

// changeDialog asks what to do with an endpoint, for how long and why, and does it.
export function changeDialog(service, e, kind) {
  const kinds = kindsFor(e);
  let chosen = kinds.includes(kind) ? kind : kinds[0];
  const weight = h('input', { type: 'number', min: '0.01', max: '1000', step: 'any', value: String(e.weight) });
  const during = h('select', {}, Object.keys(ends).map((v) => h('option', { value: v, selected: v === '30m' }, t('for.' + (v || 'ever')))));
  const why = h('input', { maxlength: '500', autocomplete: 'off' });
  const means = h('p', { class: 'means' }), failed = h('p', { class: 'error', role: 'alert' });
  const weightRow = row(t('col.weight'), weight), duringRow = row(t('for'), during);
  const doIt = h('button', { class: 'primary' });
  const choice = h('fieldset', { class: 'kinds' }, h('legend', { class: 'sr' }, t('change')), kinds.map((k) => h('label', {},
    h('input', { type: 'radio', name: 'kind', value: k, checked: k === chosen, onchange: () => { chosen = k; show(); } }), t('do.' + k))));
  const show = () => {
    weightRow.hidden = chosen !== 'weight';
    duringRow.hidden = ['undrain', 'unweight', 'admit'].includes(chosen);
    text(means, t('means.' + chosen));
    text(doIt, t('do.' + chosen));
  };
  show();
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    doIt.disabled = true;
    try {
      await send(service, e.label, chosen, { weight: Number(weight.value), for: during.value, why: why.value });
      dialog.close();
    } catch (problem) {
      text(failed, problem.message);
    }
    doIt.disabled = false;
  } }, choice, means, weightRow, duringRow, row(t('why'), why), failed, h('p', { class: 'buttons' }, cancel(), doIt));
  const dialog = open(h('span', {}, service + ' ', h('span', { class: 'mono' }, e.label)), form);
  choice.querySelector(':checked').focus();
}

// send asks for the change.
function send(service, label, kind, said) {
  const path = overridePath(service, label), generation = store.overview?.generation;
  if (kind === 'unweight') return change('DELETE', path + '?kind=weight', generation);
  const body = { kind };
  if (kind === 'weight') body.weight = said.weight;
  if (said.for && !['undrain', 'admit'].includes(kind)) body.for = said.for;
  if (said.why) body.why = said.why;
  return change('POST', path, generation, body);
}

// tokenDialog asks for the token, and calls then when one was given.
export function tokenDialog(message, then) {
  if (document.querySelector('dialog.token')) return;
  const input = h('input', { type: 'password', autocomplete: 'current-password', required: true });
  const dialog = open(t('token.title'), h('form', { onsubmit: (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    dialog.close();
    then();
  } }, h('p', {}, token.get() ? t('token.wrong') : t('token.needed')), row(t('token'), input),
  h('p', { class: 'muted small' }, message), h('p', { class: 'buttons' }, h('button', { class: 'primary' }, t('token.use')))));
  dialog.classList.add('token');
  input.focus();
}
