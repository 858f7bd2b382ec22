// Turns message text into nodes: plain text, and links for http and https addresses only.

import { h } from './dom.js';

const ADDRESS = /\bhttps?:\/\/[^\s<>"']+/gi;

export function linked(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutTrail(match[0]);
    if (!isWeb(address)) continue;
    nodes.push(text.slice(at, match.index), h('a', { href: address, rel: 'noopener noreferrer', target: '_blank' }, address));
    at = match.index + address.length;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== '');
}

/** Punctuation after an address belongs to the sentence; a bracket stays if it was opened within the address. */
function withoutTrail(address) {
  let end = address.replace(/[.,;:!?*_~]+$/, '');
  while (end.endsWith(')') && end.split(')').length > end.split('(').length) end = end.slice(0, -1).replace(/[.,;:!?]+$/, '');
  return end;
}

function isWeb(address) {
  try {
    return /^https?:$/.test(new URL(address).protocol);
  } catch {
    return false;
  }
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dated = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });

export const timeOf = (at) => clock.format(new Date(at));
export const momentOf = (at) => moment.format(new Date(at));
export const fullTimeOf = (at) => full.format(new Date(at));

export function dayOf(at, now = Date.now()) {
  const day = new Date(at);
  const today = new Date(now);
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (day.toDateString() === today.toDateString()) return 'Today';
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return (day.getFullYear() === today.getFullYear() ? weekday : dated).format(day);
}

/** A time that is left, in the two units that matter: "9 min 58 s", "3 h 5 min", "6 days". */
export function durationOf(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600), Math.floor(seconds / 60)];
  if (days >= 2) return `${days} days`;
  if (hours >= 1) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  if (minutes >= 1) return seconds % 60 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  return `${seconds} s`;
}

/** Why something was refused, and when it is worth another try. */
export function refusalText({ code, message, retry_after_ms }) {
  return code === 'rate_limited' && retry_after_ms >= 1_000 ? `${message} Try again in ${durationOf(Math.ceil(retry_after_ms / 1_000) * 1_000)}.` : message;
}

export function listOf(names) {
  if (names.length <= 1) return names.join('');
  if (names.length > 3) return `${names.slice(0, 2).join(', ')} and ${names.length - 2} others`;
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/** Copies text; plain http has no clipboard API, so a selection has to do. */
export async function copy(text, near = document.body) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h('textarea', { class: 'visually-hidden', value: text, readOnly: true, 'aria-hidden': 'true' });
    near.append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    return done;
  }
}
