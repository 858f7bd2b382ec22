// One's own profile and password, the devices one is signed in on, and for administrators the name of the account.

import { api } from '../api.js';
import { isAdmin } from '../store/select.js';
import { Devices } from './devices.js';
import { h, replace } from './dom.js';
import { field, form } from './form.js';
import { PreferencesPanel } from './preferences.js';

/** How long a session that an administrator's link began may set a password without knowing the old one; the server's rule. */
const FRESH_MS = 15 * 60_000;

export class SettingsPage {
  constructor(client) {
    this.client = client;
    const { state } = client;
    this.devices = new Devices(client);
    this.preferences = new PreferencesPanel(client);
    this.bio = state.me.bio ?? '';
    this.team = state.account.name ?? '';
    this.email = h('p', {});
    this.password = h('section', { class: 'panel', id: 'password' });
    this.el = h('div', { class: 'scroll-page' },
      h('section', { class: 'panel', id: 'profile' }, h('h2', {}, 'You'), this.#profile(state.me), this.email),
      this.preferences.el,
      this.password,
      this.devices.el,
      isAdmin(state) && h('section', { class: 'panel', id: 'account' }, h('h2', {}, 'Team'),
        saving({
          className: 'inline',
          fields: [field({ name: 'name', label: 'Name of your team', value: this.team, required: true, maxlength: 100, autocomplete: 'organization' })],
          save: async ({ name }) => this.#learn({ type: 'account/learned', account: await api.patch('/account', { name: name.trim() }) }),
        })));
  }

  title() { return 'Settings'; }

  opened() {
    this.devices.opened();
    this.preferences.opened();
    // What the page was opened with may be of an earlier time: the welcome has no bio and no address.
    api.get('/me').then((me) => {
      this.#learn({ type: 'me/learned', me });
      // Not over what is being written.
      const area = this.el.querySelector('#profile [name=bio]');
      if (area.value === this.bio) area.value = me.bio ?? '';
      this.bio = me.bio ?? '';
    }, () => {});
  }

  update(state) {
    this.devices.update(state);
    this.preferences.update(state);
    this.#team(state.account.name ?? '');
    const { email } = state.me;
    const current = state.sessions?.find((session) => session.current);
    const free = current?.begun_by === 'recovery' && api.now() - Date.parse(current.created_at) < FRESH_MS;
    if (this.drawn && this.drawn.email === email && this.drawn.free === free) return;
    this.drawn = { email, free };
    replace(this.email, email ? `You sign in as ${email}.` : 'You have no email and no password here: stay signed in, or make a link below to sign in on another device.');
    this.password.hidden = !email;
    replace(this.password, email && this.#password(email, free));
  }

  /** The name may come after the page, or be changed by another administrator; not over what is being written. */
  #team(name) {
    if (name === this.team) return;
    const input = this.el.querySelector('#account [name=name]');
    if (input?.value === this.team) input.value = name;
    this.team = name;
  }

  #profile(me) {
    return saving({
      fields: [
        field({ name: 'name', label: 'Your name', value: me.name, required: true, maxlength: me.role === 'guest' ? 20 : 100, autocomplete: 'name' }),
        field({ name: 'bio', label: 'About you', value: this.bio, multiline: true, rows: 3, maxlength: 500, hint: 'Everybody here can read it. Up to 500 characters.' }),
      ],
      save: async ({ name, bio }) => {
        const me = await api.patch('/me', { name: name.trim(), bio: bio.trim() });
        this.#learn({ type: 'me/learned', me });
        this.#learn({ type: 'user/learned', user: { id: me.id, name: me.name, role: me.role } });
      },
    });
  }

  #password(email, free) {
    return [h('h2', {}, 'Password'),
      h('p', {}, 'With a new password all your other devices are signed out.'),
      saving({
        action: 'Change the password',
        done: 'The password is changed, and the other devices are signed out.',
        fields: [
          h('input', { type: 'text', name: 'username', autocomplete: 'username', value: email, readOnly: true, hidden: true, tabIndex: -1, 'aria-label': 'Account' }),
          !free && field({ name: 'current_password', label: 'Current password', type: 'password', required: true, autocomplete: 'current-password' }),
          field({ name: 'new_password', label: 'New password', type: 'password', required: true, minlength: 8, maxlength: 256, autocomplete: 'new-password', hint: 'At least 8 characters.' }),
        ],
        save: async ({ current_password, new_password }, element) => {
          try {
            await api.put('/me/password', { current_password, new_password });
          } catch (error) {
            if (error.code === 'unauthenticated') Object.assign(error, { field: 'current_password', message: 'This is not your current password.' });
            throw error;
          }
          element.reset();
          this.#learn({ type: 'lists/outdated', lists: { sessions: true } });
        },
      })];
  }

  #learn(action) {
    this.client.store.dispatch(action);
  }
}

/** A form that says when it is done. */
function saving({ fields, className = '', action = 'Save', done = 'Saved.', save }) {
  const said = h('p', { class: 'saved', role: 'status' });
  const element = form({
    action, className, fields,
    submit: async (values) => {
      replace(said);
      await save(values, element);
      replace(said, done);
    },
  });
  return [element, said];
}
