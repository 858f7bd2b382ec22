// One row of the list: a message in its states, or what stands between messages.

import { avatar, h, icon, replace, setAttributes } from './dom.js';
import { Editor } from './editor.js';
import { dayOf, fullTimeOf, linked, timeOf } from './text.js';

export function makeRow(row) {
  const between = (className, ...children) => h('li', { class: className, dataset: { key: row.key } }, children);
  if (row.kind === 'day') return between('day', h('span', {}, dayOf(row.at)));
  if (row.kind === 'line') return between('new-line', h('span', {}, 'New messages'));
  if (row.kind === 'start') return between('start', 'This is where the conversation begins.');
  return h('li', { class: 'message', tabIndex: -1, dataset: { key: row.key } });
}

const shown = new WeakMap();
const KEYS = ['status', 'entry', 'grouped', 'name', 'edit', 'deleting'];

export function updateRow(element, row, act) {
  if (row.kind !== 'message') return;
  const before = shown.get(element);
  if (before && KEYS.every((key) => before.row[key] === row[key]) && (row.entry || before.row.message === row.message)) return;
  const editor = row.edit ? before?.editor ?? new Editor(row.edit, act) : null;
  shown.set(element, { row, editor });
  const { message, status, grouped, edit, deleting } = row;
  element.dataset.state = status;
  element.classList.toggle('grouped', grouped);
  element.classList.toggle('editing', Boolean(edit));
  element.classList.toggle('conflict', edit?.state === 'conflict');
  element.classList.toggle('deleting', deleting);
  setAttributes(element, { 'data-id': message.id, 'data-client-message-id': message.client_message_id });
  // An open editor keeps its place in the document, and with it the focus.
  if (editor && before?.editor === editor) {
    replaceBody(element, message);
    editor.update(edit);
    return;
  }
  replace(element,
    h('div', { class: 'gutter' }, grouped ? time(message) : avatar({ ...message.author, name: row.name })),
    h('div', { class: 'content' },
      !grouped && h('div', { class: 'message-head' }, h('span', { class: 'author' }, row.name), badge(message.author), time(message)),
      h('div', { class: 'body' }, linked(message.body)),
      message.edited_at && h('span', { class: 'edited', title: `Edited ${fullTimeOf(message.edited_at)}` }, 'edited'),
      footer(row),
      editor?.el),
    status === 'sent' && h('button', { type: 'button', class: 'message-menu icon-button', tabIndex: -1, 'aria-label': 'What to do with this message', 'aria-haspopup': 'menu' }, icon('more')));
}

function replaceBody(element, message) {
  const body = element.querySelector('.body');
  if (body.textContent !== message.body) replace(body, linked(message.body));
}

function time({ at }) {
  return h('time', { class: 'time', datetime: at, title: fullTimeOf(at) }, timeOf(at));
}

function badge({ role }) {
  return (role === 'bot' || role === 'assistant') && h('span', { class: 'role' }, role);
}

function footer({ status, entry, deleting }) {
  if (deleting) return h('p', { class: 'message-foot' }, 'Deleting…');
  if (status === 'pending') {
    const text = entry.retryAt ? 'Trying again…' : entry.state === 'sending' ? 'Sending…' : 'Waiting to be sent…';
    return h('p', { class: 'message-foot' }, text);
  }
  if (status !== 'failed') return null;
  const button = (act, label) => h('button', { type: 'button', class: `link-button ${act}`, dataset: { act } }, label);
  return h('p', { class: 'message-foot failed' }, h('span', {}, `Not sent. ${entry.error?.message ?? ''}`),
    button('retry', 'Retry'), button('take-back', 'Edit'), button('discard', 'Discard'));
}

