// One person: what they say of themselves, and what an administrator can do about their account.

import { api } from '../api.js';
import { PRESENCE_NAMES, presenceOf } from '../store/attendance.js';
import { ROLE_NAMES } from '../store/identity.js';
import { isAdmin, isGuest } from '../store/select.js';
import { dialog } from './dialogs.js';
import { avatar, h, replace, setText } from './dom.js';
import { choice, field, form } from './form.js';
import { LinkCard } from './qr.js';
import { momentOf } from './text.js';

const ROLES = [['admin', 'Administrator: manages all'], ['member', 'Member: all open rooms'], ['guest', 'Guest: only rooms they are added to']];
const PEOPLE = new Set(ROLES.map(([role]) => role));
const STATUS = { deactivated: 'deactivated', banned: 'banned' };

/** What stands below a name: `Administrator · online`. */
export function describe(state, user) {
  const there = STATUS[user.status] ?? PRESENCE_NAMES[presenceOf(state, user.id)];
  return [user.role === 'member' ? null : ROLE_NAMES[user.role], there].filter(Boolean).join(' · ');
}

/** A refusal as it is told here: what it means, and what can be done first. */
export function worded(error, name) {
  if (error.code === 'last_admin') return `${name} is the only administrator. Make somebody else an administrator first, so that there always is one.`;
  return error.message;
}

/** `changed()` after each change of the account, so that lists beside this dialog follow. */
export function openPerson(client, shell, user, changed) {
  const state = h('p', { class: 'person-state' });
  const bio = h('p', { class: 'person-bio' });
  const said = h('p', { class: 'saved', role: 'status' });
  const trouble = h('p', { class: 'form-error', role: 'alert' });
  const talk = h('button', { type: 'button', class: 'button small', on: { click: () => message() } }, 'Message');
  const manage = h('div', { class: 'details', id: 'manage' });
  let { role, status = 'active' } = user;
  let card = null;

  const act = async (work, done) => {
    setText(trouble, '');
    setText(said, '');
    try {
      const answer = await work();
      role = answer?.role ?? role;
      status = answer?.status ?? status;
      setText(said, done);
      changed();
    } catch (error) {
      setText(trouble, worded(error, user.name));
    }
    draw();
    // What was pressed may be gone with what it was for.
    if (!opened.contains(document.activeElement)) (manage.querySelector('select, button') ?? opened.querySelector('button')).focus();
  };

  const draw = () => {
    // Who is out reads nothing.
    talk.hidden = user.id === client.state.me.id || status !== 'active' || isGuest(client.state);
    setText(state, describe(client.state, { ...user, role, status }));
    replace(manage, isAdmin(client.state) && PEOPLE.has(user.role) && controls());
  };

  const controls = () => {
    const self = user.id === client.state.me.id;
    if (status !== 'active') return [h('h3', {}, 'Account'), !self && (status === 'banned' ? undo() : reactivate())];
    return [h('h3', {}, 'Role'), roles(), !self && [h('h3', {}, 'Let back in'), recovery(), h('h3', {}, 'Close the account'), deactivate(), ban()]];
  };

  const roles = () => form({
    action: 'Save', className: 'inline',
    fields: [choice({ name: 'role', label: `What ${user.name} may do`, options: ROLES, value: role })],
    submit: (values) => act(() => api.patch(`/users/${user.id}`, { role: values.role }), 'The role is changed.'),
  });

  const recovery = () => {
    const holder = h('div', { class: 'details', id: 'recovery' });
    const button = h('button', { type: 'button', class: 'button small', id: 'make-recovery', on: { click: () => {
      card ??= new LinkCard({
        make: () => api.post(`/users/${user.id}/transfers`, {}),
        hint: `Whoever has the link becomes ${user.name}. Give it to nobody else.`,
      });
      replace(holder, card.el);
      card.renew();
      button.hidden = true;
    } } }, 'Make a link…');
    if (card) replace(holder, card.el);
    button.hidden = card !== null;
    return [h('p', { class: 'field-note' }, `For a forgotten password: with the link ${user.name} chooses a new one. It works once.`), button, holder];
  };

  const deactivate = () => armed('Deactivate…', `Deactivate ${user.name}`, `${user.name} is signed out everywhere and can’t sign in until you undo it. Messages stay.`,
    [], () => act(() => api.patch(`/users/${user.id}`, { status: 'deactivated' }), `${user.name} is deactivated.`), 'deactivate');

  const ban = () => armed('Ban…', `Ban ${user.name}`, `As deactivating; besides, the addresses ${user.name} came from are refused.`,
    [field({ name: 'reason', label: 'Reason (optional)', maxlength: 500, autocomplete: 'off', hint: 'Shown to administrators.' })],
    ({ reason }) => act(() => api.put(`/users/${user.id}/ban`, reason.trim() ? { reason: reason.trim() } : {}), `${user.name} is banned.`), 'ban');

  const reactivate = () => h('button', { type: 'button', class: 'button', id: 'reactivate', on: { click: () => act(() => api.patch(`/users/${user.id}`, { status: 'active' }), `${user.name} is back.`) } }, 'Reactivate');

  const undo = () => h('button', { type: 'button', class: 'button', id: 'unban', on: { click: () => act(() => api.delete(`/users/${user.id}/ban`), `The ban of ${user.name} is undone.`) } }, 'Undo the ban');

  const opened = dialog(user.id === client.state.me.id ? `${user.name} (you)` : user.name, [
    h('div', { class: 'person-head' }, avatar(user), h('div', { class: 'person-text' }, state, bio)),
    talk,
    said, trouble, manage,
  ], { id: 'person', onClose: () => card?.close() });

  const message = async () => {
    try {
      const room = await client.direct(user.id);
      opened.close();
      shell.go(`/rooms/${room.id}`);
    } catch (error) {
      setText(trouble, error.message);
    }
  };

  draw();
  api.get(`/users/${user.id}`).then((known) => {
    const seen = known.last_seen_at && !['online', 'away'].includes(known.presence) ? `Last seen ${momentOf(known.last_seen_at)}` : '';
    replace(bio, known.bio, known.bio && seen && h('br'), seen && h('span', { class: 'person-state' }, seen));
  }, () => {});
}

/** A button that first says what it does, and asks for what it needs. */
function armed(label, action, text, fields, act, id) {
  const inside = form({ action, fields: [h('p', { class: 'field-note' }, text), fields], submit: act });
  inside.hidden = true;
  inside.querySelector('[type=submit]').className = 'button danger';
  const button = h('button', { type: 'button', class: 'button danger-text', id, 'aria-expanded': 'false', on: { click: () => {
    inside.hidden = !inside.hidden;
    button.setAttribute('aria-expanded', String(!inside.hidden));
    if (!inside.hidden) inside.querySelector('input, button').focus();
  } } }, label);
  return [button, inside];
}
