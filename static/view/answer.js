// An assistant's answer in the list: what is said so far, how it stands, and what can be done about it.

import { isOpen } from '../store/answers.js';
import { h } from './dom.js';
import { linked } from './text.js';

const REASONS = {
  cancelled: 'Stopped.',
  stopped_by_admin: 'Stopped by somebody who looks after this room.',
  deleted: 'The question was deleted.',
  assistant_gone: 'The assistant was switched off or removed.',
  server_stopped: 'The server was shut down.',
  asker_gone: 'Whoever asked has no access to this room any more.',
  breaker_open: 'Its engine fails at present and is left alone for a while.',
  too_many_calls: 'It called tools again and again, and gave no answer.',
  worker_failed: 'Something went wrong on this server.',
  lease_lost: 'The server that worked at it went away.',
  dead_letter: 'It was tried several times, without success.',
  unauthorized: 'Its engine doesn’t accept the key.',
  model_not_found: 'Its engine doesn’t know the model.',
  quota_exhausted: 'The quota at its engine is used up.',
  context_too_long: 'The question is too long for it.',
  rejected: 'Its engine refused the question.',
  rate_limited: 'Its engine was asked too often.',
  overloaded: 'Its engine has too much to do.',
  connect: 'Its engine can’t be reached.',
  first_token_timeout: 'Its engine didn’t begin to answer in time.',
  idle_timeout: 'Its engine fell silent.',
  total_timeout: 'Its engine took too long.',
  dropped: 'The connection to its engine was lost.',
  malformed: 'Its engine answered something unreadable.',
  upstream_error: 'Its engine reported an error.',
  content_filter: 'The content filter kept it back.',
};

/** Why it ended, as a sentence. */
export const reasonOf = ({ reason }) => REASONS[reason] ?? (reason ? `The reason given is “${reason}”.` : 'No reason was given.');

/** What `ai_busy` and its like mean here; others are told in the server's words. */
const REFUSALS = {
  ai_busy: (name) => `${name} is still busy with another answer to you here.`,
  ai_queue_full: (name) => `Too many questions wait for ${name}.`,
  ai_unavailable: (name) => `${name} can’t be asked at present.`,
  budget_exceeded: (name) => `${name} was not asked: the budget is used up.`,
  settings_conflict: () => 'Your settings for answers were changed on another device meanwhile.',
  disconnected: () => 'The connection was lost before the question arrived.',
};
export const refusalOf = ({ code, message }, name) => REFUSALS[code]?.(name) ?? `${name} was not asked. ${message ?? ''}`;

/** Only asking again with more money or less to do can help; these never change by themselves. */
const mayRetry = ({ error }) => error && (error.retryable || ['budget_exceeded', 'settings_conflict', 'timeout', 'disconnected'].includes(error.code));

const button = (act, label, extra = {}) => h('button', { type: 'button', class: `link-button ${act}`, dataset: { act, ...extra } }, label);

/** The text as far as it is there. While it grows it is one text node, to which is added. */
export function bodyOf(answer) {
  if (!isOpen(answer)) return answer.text ? linked(answer.text) : [];
  return [answer.text];
}

/** Adds what is new, so that nothing that stands is drawn anew: a selection in it stays. */
export function grow(body, text) {
  const node = body.firstChild;
  if (node?.nodeType === 3 && body.childNodes.length === 1 && text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else if (body.textContent !== text) body.replaceChildren(text);
}

const HEADS = { cancelled: 'Stopped', interrupted: 'Interrupted', failed: 'Failed' };

/** Below the text: how it stands. `may.stop`, `may.ask`: what this person can do. */
export function footOf(answer, may) {
  const { state, stopping, truncated, reason } = answer;
  if (isOpen(answer)) {
    const words = stopping ? 'Stopping…' : state === 'queued' ? 'Waiting for its turn' : 'Writing';
    return h('p', { class: 'message-foot answer-foot', dataset: { answer: stopping ? 'stopping' : state } },
      h('span', { class: 'answer-state' }, words), !stopping && h('span', { class: 'pulse', 'aria-hidden': 'true' }, h('i', {}), h('i', {}), h('i', {})),
      may.stop && !stopping && button('answer-stop', 'Stop'));
  }
  const marks = [];
  if (state !== 'done') {
    const why = state === 'cancelled' && (reason === null || reason === 'cancelled') ? 'Stopped.' : `${state === 'cancelled' ? '' : `${HEADS[state]}. `}${reasonOf(answer)}`;
    marks.push(h('span', { class: 'answer-state' }, why), may.ask && button('answer-again', 'Answer again'));
  }
  if (truncated) marks.push(h('span', { class: 'tag answer-cut', title: 'Part of the conversation was left out, or the answer reached its greatest length.' }, 'shortened'));
  const usage = usageOf(answer.usage);
  if (usage) marks.push(h('span', { class: 'usage' }, usage));
  if (!marks.filter(Boolean).length) return null;
  return h('p', { class: `message-foot answer-foot ${state === 'failed' || state === 'interrupted' ? 'failed' : ''}`, dataset: { answer: state } }, marks);
}

/** Dollars of micro-dollars, as exact as they have to be. */
export function dollars(micros) {
  const value = micros / 1_000_000;
  const digits = micros === 0 ? 2 : Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(value))));
  return `$${value.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
}

export function usageOf(usage) {
  if (!usage || !(usage.prompt_tokens + usage.completion_tokens)) return '';
  const tokens = `${usage.estimated ? 'about ' : ''}${usage.prompt_tokens.toLocaleString()} tokens read, ${usage.completion_tokens.toLocaleString()} written`;
  return usage.cost_micros ? `${tokens}, ${dollars(usage.cost_micros)}` : tokens;
}

/** Below a question, or an answer that was asked for again: why nobody answers. */
export function asksOf(asks, nameOf) {
  return asks.map((ask) => {
    const { assistant_id, state, error } = ask;
    const name = nameOf({ id: assistant_id });
    if (state === 'asking') return h('p', { class: 'message-foot' }, `Asking ${name}…`);
    if (state === 'waiting') return h('p', { class: 'message-foot' }, `${refusalOf(error, name)} Asking again as soon as possible…`);
    return h('p', { class: 'message-foot failed', dataset: { refused: error.code } }, h('span', {}, refusalOf(error, name)),
      mayRetry(ask) && button('ask-retry', 'Retry', { assistant: assistant_id }));
  });
}
