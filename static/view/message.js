// One row of the list: a message in its states, or what stands between messages.

import { waitingText } from '../patience.js';
import { shownBody } from '../store/changing.js';
import { isOpen } from '../store/answers.js';
import { asksOf, bodyOf, footOf, grow } from './answer.js';
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
const KEYS = ['status', 'entry', 'grouped', 'name', 'edit', 'change', 'asks'];
/** What of an answer is drawn apart from its text. */
const STANDING = ['id', 'state', 'stopping', 'truncated', 'mayStop', 'mayAsk'];
const sameStanding = (one, other) => one === other || (one && other && STANDING.every((key) => one[key] === other[key]));

export function updateRow(element, row, act) {
  if (row.kind !== 'message') return;
  const before = shown.get(element);
  const kept = before && KEYS.every((key) => before.row[key] === row[key]) && (row.entry || before.row.message === row.message) && sameStanding(before.row.answer, row.answer);
  if (kept) {
    if (row.answer && isOpen(row.answer)) grow(element.querySelector('.body'), row.answer.text);
    return;
  }
  const editor = row.edit ? before?.editor ?? new Editor(row.edit, act) : null;
  shown.set(element, { row, editor });
  const { message, status, grouped, edit, change, answer } = row;
  const body = shownBody(message, change);
  element.dataset.state = status;
  element.classList.toggle('grouped', grouped);
  element.classList.toggle('editing', Boolean(edit));
  element.classList.toggle('conflict', edit?.state === 'conflict');
  element.classList.toggle('changing', Boolean(change));
  setAttributes(element, { 'data-id': message.id, 'data-client-message-id': message.client_message_id, 'data-answer': answer?.state });
  // An open editor keeps its place in the document, and with it the focus.
  if (editor && before?.editor === editor) {
    replaceBody(element, body);
    editor.update(edit);
    return;
  }
  const held = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement.dataset.act ?? '' : null;
  replace(element,
    h('div', { class: 'gutter' }, grouped ? time(message) : avatar({ ...message.author, name: row.name })),
    h('div', { class: 'content' },
      !grouped && h('div', { class: 'message-head' }, h('span', { class: 'author' }, row.name), badge(message.author), time(message)),
      h('div', { class: 'body' }, answer ? bodyOf(answer) : linked(body)),
      message.edited_at && !change && h('span', { class: 'edited', title: `Edited ${fullTimeOf(message.edited_at)}` }, 'edited'),
      footer(row),
      answer && footOf(answer, { stop: answer.mayStop, ask: answer.mayAsk }),
      row.asks && asksOf(row.asks, row.nameOf),
      editor?.el),
    status === 'sent' && h('button', { type: 'button', class: 'message-menu icon-button', tabIndex: -1, 'aria-label': 'What to do with this message', 'aria-haspopup': 'menu' }, icon('more')));
  // What had the focus may be gone: then its message has it.
  if (held !== null && !editor) (element.querySelector(`[data-act="${held}"]`) ?? element).focus({ preventScroll: true });
}

function replaceBody(element, text) {
  const body = element.querySelector('.body');
  if (body.textContent !== text) replace(body, linked(text));
}

function time({ at }) {
  return h('time', { class: 'time', datetime: at, title: fullTimeOf(at) }, timeOf(at));
}

function badge({ role }) {
  return (role === 'bot' || role === 'assistant') && h('span', { class: 'role' }, role);
}

function footer({ status, entry, change }) {
  if (change) return h('p', { class: 'message-foot' }, change.waits ? waitingText(change.waits) : change.state === 'sending' ? 'Saving…' : 'Waiting to be saved…');
  if (status === 'pending') {
    const text = entry.waits ? waitingText(entry.waits) : entry.state === 'sending' ? 'Sending…' : 'Waiting to be sent…';
    return h('p', { class: 'message-foot' }, text);
  }
  if (status !== 'failed') return null;
  const button = (act, label) => h('button', { type: 'button', class: `link-button ${act}`, dataset: { act } }, label);
  return h('p', { class: 'message-foot failed' }, h('span', {}, `Not sent. ${entry.error?.message ?? ''}`),
    button('retry', 'Retry'), button('take-back', 'Edit'), button('discard', 'Discard'));
}

