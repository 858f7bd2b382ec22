// The pages before the app: first run, sign-in, joining by invitation, and the explanations of why one is not connected.

import { api } from '../api.js';
import { BANNED } from '../ended.js';
import { field, form } from './form.js';
import { h, replace } from './dom.js';

const email = () => field({ name: 'email', label: 'Email', type: 'email', autocomplete: 'username', required: true });
const password = (fresh) => field({
  name: 'password', label: 'Password', type: 'password', required: true,
  autocomplete: fresh ? 'new-password' : 'current-password', hint: fresh ? 'At least 8 characters.' : undefined,
});
const nickname = () => field({ name: 'name', label: 'Nickname', autocomplete: 'nickname', required: true, maxlength: 20, hint: 'Up to 20 characters.' });
const name = () => field({ name: 'name', label: 'Your name', autocomplete: 'name', required: true, maxlength: 100 });

/** One card in the middle: what it is about, and the one thing to do. */
export function page(root, title, lead, ...content) {
  document.title = `${title} · Hearth`;
  replace(root, h('main', { class: 'gate', id: 'gate' },
    h('div', { class: 'gate-card' },
      h('img', { src: '/static/icon.svg', alt: '', width: 56, height: 56, class: 'gate-mark' }),
      h('h1', {}, title),
      lead && h('p', { class: 'gate-lead' }, lead),
      content)));
  root.querySelector('input:not([hidden]), .button.primary')?.focus();
}

export function setupPage(root, done) {
  page(root, 'Welcome to Hearth', 'Name your place and make the first account. It will be the administrator’s.',
    form({
      action: 'Light the hearth',
      fields: [
        field({ name: 'account_name', label: 'Name of your team', autocomplete: 'organization', required: true, maxlength: 100 }),
        name(), email(), password(true),
      ],
      submit: async (values) => {
        try {
          await api.post('/setup', values);
        } catch (error) {
          if (error.code !== 'already_set_up') throw error;
          history.replaceState(null, '', '/sign-in');
          signInPage(root, done, 'Somebody was faster: this place is set up already. Sign in, or ask whoever set it up for a link.');
          return;
        }
        await done();
      },
    }));
}

export function signInPage(root, done, notice) {
  page(root, 'Sign in', notice ?? 'Good to see you again.',
    form({
      action: 'Sign in',
      fields: [email(), password(false)],
      submit: async (values) => {
        try {
          await api.post('/sessions', values);
        } catch (error) {
          if (error.code === 'unauthenticated') error.message = 'Email or password is not right.';
          if (error.code === 'banned') error.message = BANNED.text;
          throw error;
        }
        await done();
      },
    }),
    h('p', { class: 'gate-foot' }, 'No account yet, or the password forgotten? Ask an administrator for a link.'));
}

export async function joinPage(root, code, done) {
  let account;
  let role;
  try {
    ({ account, role } = await api.get(`/join/${encodeURIComponent(code)}`));
  } catch (error) {
    refused(root, error);
    return;
  }
  const guest = role === 'guest';
  page(root, `Join ${account.name}`, guest ? 'You are invited as a guest. Say what to call you, and come in.' : 'Make your account and come in.',
    form({
      action: guest ? 'Come in' : 'Join',
      fields: guest ? [nickname()] : [name(), email(), password(true)],
      submit: async (values) => {
        try {
          await api.post(`/join/${encodeURIComponent(code)}`, values);
        } catch (error) {
          if (error.code === 'gone' || error.code === 'not_found' || error.code === 'banned') {
            refused(root, error);
            return;
          }
          if (error.code === 'email_taken') Object.assign(error, { field: 'email', message: 'There is an account with this email already.' });
          throw error;
        }
        await done();
      },
    }),
    h('p', { class: 'gate-foot' }, 'Have an account? ', h('a', { href: '/sign-in' }, 'Sign in')));
}

const REFUSED = {
  not_found: ['This invitation does not work', 'The link may be mistyped or replaced by a newer one. Ask for a new link.'],
  gone: ['This invitation is over', 'It has expired, was used as often as it may be, or was withdrawn. Ask whoever sent it for a new one.'],
  banned: [BANNED.title, BANNED.text],
};

function refused(root, error) {
  const [title, text] = REFUSED[error.code] ?? ['That did not work', error.message];
  messagePage(root, title, text, { label: 'Go to sign-in', act: () => location.assign('/sign-in') });
}

export function messagePage(root, title, text, action) {
  page(root, title, text, action && h('button', { type: 'button', class: 'button primary', on: { click: action.act } }, action.label));
}
