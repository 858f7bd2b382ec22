// The audit trail in words: each entry as a sentence, and the filters as the server takes them. Pure.

import { nameOfDevice, wayOf } from './sessions.js';

/** `[what it is called in the filter, the sentence]`; `who` did it to `whom`, the person or thing that the entry is about. */
const ACTIONS = {
  'session.begun': ['Signed in', ({ who, detail }) => sentence(who, 'signed in', wayOf(detail), detail.device && `on ${nameOfDevice(detail.device)}`)],
  'session.refused': ['Failed to sign in', ({ whom, target, detail }) => sentence('Somebody failed to sign in', target && `as ${whom}`, REASONS[detail.reason] ?? (detail.reason && `(${detail.reason})`))],
  'session.ended': ['Signed out', ({ who, whom, detail }) => sentence(who, `signed out ${whom}`, ENDS[detail.by])],
  'token.reused': ['Refresh token used again', ({ whom }) => `A refresh token that was used up came again: ${whom} was ended`],
  'password.changed': ['Password changed', ({ who, self, whom, detail }) => sentence(who, self ? 'changed their password' : `changed the password of ${whom}`, detail.by === 'recovery' && 'by a link from an administrator')],
  'transfer.created': ['Link made', ({ who, detail, person }) => (detail.kind === 'recovery' ? `${who} made a link that lets ${person(Number(detail.for))} back in` : `${who} made a link to sign in on another device`)],
  'transfer.redeemed': ['Link used', ({ who, detail }) => `${who} signed in by ${detail.kind === 'recovery' ? 'an administrator’s link' : 'a link'}`],
  'transfer.refused': ['Link refused', ({ detail, person }) => sentence('Somebody tried a link', detail.for && `for ${person(Number(detail.for))}`, detail.reason === 'used' ? 'that was used before' : 'that was over')],
  'user.joined': ['Joined', ({ who, self, target, whom, detail }) => sentence(target && !self ? whom : who, 'joined', detail.invite && `by invitation ${detail.invite}`)],
  'user.role_changed': ['Role changed', ({ who, whom, detail }) => sentence(who, `changed the role of ${whom}`, detail.from && `from ${detail.from}`, detail.to && `to ${detail.to}`)],
  'user.deactivated': ['Deactivated', ({ who, whom }) => `${who} deactivated ${whom}`],
  'user.reactivated': ['Reactivated', ({ who, whom }) => `${who} let ${whom} back in`],
  'user.banned': ['Banned', ({ who, whom, detail }) => `${who} banned ${whom}${detail.reason ? `: ${detail.reason}` : ''}`],
  'user.unbanned': ['Ban undone', ({ who, whom }) => `${who} undid the ban of ${whom}`],
  'invite.created': ['Invitation made', ({ who, whom, detail }) => sentence(who, `made ${whom}`, detail.role && `for a ${detail.role}`)],
  'invite.revoked': ['Invitation withdrawn', ({ who, whom }) => `${who} withdrew ${whom}`],
  'join_code.rotated': ['Join link replaced', ({ who }) => `${who} replaced the link that invites`],
  'bot.created': ['Bot made', ({ who, whom, detail }) => `${who} made the bot ${detail.name ?? whom}`],
  'bot.changed': ['Bot changed', ({ who, whom }) => `${who} changed ${whom}`],
  'bot.deactivated': ['Bot removed', ({ who, whom }) => `${who} removed ${whom}`],
  'bot_key.created': ['Bot key made', ({ who, whom, detail, person }) => sentence(who, `made ${whom}`, detail.bot && `for ${person(Number(detail.bot))}`)],
  'bot_key.revoked': ['Bot key revoked', ({ who, whom, detail, person }) => sentence(who, `${detail.ends_at ? 'set an end to' : 'revoked'} ${whom}`, detail.bot && `of ${person(Number(detail.bot))}`)],
  'bot.acted': ['Bot acted', ({ who, self, whom, place, detail }) => (self ? sentence(who, detail.command === 'member.remove' ? 'left' : ACTS[detail.command] ?? 'acted in', place) : sentence(who, ACTS[detail.command] ?? 'acted on', whom))],
  'assistant.created': ['Assistant made', ({ who, whom, detail }) => sentence(who, `made the assistant ${detail.name ?? whom}`, detail.model && `with the model ${detail.model}`)],
  'assistant.changed': ['Assistant changed', ({ who, whom }) => `${who} changed the assistant ${whom}`],
  'assistant.deactivated': ['Assistant removed', ({ who, whom }) => `${who} removed the assistant ${whom}`],
  'budget.changed': ['Budget changed', ({ who, target, whom }) => sentence(who, 'changed the budget', target && `of ${whom}`)],
  'message.edited': ['Message of another edited', ({ who, whom, detail, person }) => `${who} edited ${whom} of ${detail.author ? person(Number(detail.author)) : 'somebody else'}`],
  'message.deleted': ['Message of another deleted', ({ who, whom, detail, person }) => `${who} deleted ${whom} of ${detail.author ? person(Number(detail.author)) : 'somebody else'}`],
  'room.deleted': ['Room deleted', ({ who, whom, detail }) => `${who} deleted ${detail.name ? `the room “${detail.name}”` : whom}`],
  'room.renamed': ['Room renamed', ({ who, whom, detail }) => sentence(who, detail.from ? `renamed the room “${detail.from}”` : `renamed ${whom}`, detail.to && `to “${detail.to}”`)],
  'member.removed': ['Member removed', ({ who, whom, place }) => sentence(who, `removed ${whom}`, place && `from ${place}`)],
  'account.changed': ['Team changed', ({ who, detail }) => `${who} ${detail.name ? `named the team “${detail.name}”` : 'changed the settings of the team'}`],
  'audit.exported': ['Audit exported', ({ who }) => `${who} exported this trail`],
  'signing_key.rotated': ['Signing key changed', ({ who, detail }) => `${who} signs with ${detail.from ? 'another' : 'its first'} key`],
};

const REASONS = { wrong_password: 'with a wrong password', unknown_address: 'with an unknown address', inactive: 'while the account is closed' };
const ENDS = { password: 'with the new password', limit: 'for there were too many' };
const ACTS = { 'message.post': 'posted', 'message.edit': 'edited', 'message.delete': 'deleted', 'read.mark': 'read', 'member.remove': 'removed' };
/** Who acts where nobody is signed in. */
const NOBODY = { operator: 'The operator', system: 'The server' };
/** The kinds of what can be filtered by. */
export const AUDITED = ['account', 'user', 'session', 'room', 'message', 'invite', 'transfer', 'bot_key'];
const KINDS = { bot_key: 'bot key', invite: 'invitation', transfer: 'link', account: 'the team' };

const sentence = (...parts) => parts.filter(Boolean).join(' ');

/** `[code, name]` of every action that is known here, for the filter. */
export const actionNames = Object.entries(ACTIONS).map(([code, [name]]) => [code, name]);

/**
 * An entry as a sentence. `names.user(id)` and `names.room(id)` say what is known of them, or nothing. An action that is
 * new to this page is told as it is.
 */
export function sentenceOf(entry, names) {
  const { actor, via, action, target, room_id } = entry;
  const detail = entry.detail ?? {};
  const person = (id) => names.user(id) ?? (id ? `user ${id}` : 'somebody');
  const who = actor ? names.user(actor.id) ?? actor.name : NOBODY[via] ?? 'Somebody';
  const place = room_id ? names.room(room_id) ?? `room ${room_id}` : '';
  const known = ACTIONS[action];
  if (!known) return sentence(who, `(${action})`, target && nameOf(target, names));
  const self = Boolean(actor && target?.kind === 'user' && target.id === actor.id);
  const text = known[1]({ who, whom: target ? nameOf(target, names) : 'somebody', self, target, detail, place, person });
  return place && target?.kind === 'message' ? `${text} in ${place}` : text;
}

function nameOf({ kind, id }, names) {
  if (kind === 'user') return names.user(id) ?? `user ${id}`;
  if (kind === 'room') return names.room(id) ?? `room ${id}`;
  return id && kind !== 'account' ? `${KINDS[kind] ?? kind} ${id}` : KINDS[kind] ?? kind;
}

/** The query of the filters; times are of the reader's clock and go out in UTC. What is empty filters nothing. */
export function auditQuery({ actor, action, target, since, until }) {
  const query = new URLSearchParams();
  if (actor) query.set('actor', actor);
  if (action) query.set('action', action);
  if (target?.trim()) query.set('target', target.trim());
  for (const [name, value] of [['since', since], ['until', until]]) {
    const at = value ? new Date(value) : null;
    if (at && !Number.isNaN(at.getTime())) query.set(name, at.toISOString());
  }
  return query;
}
