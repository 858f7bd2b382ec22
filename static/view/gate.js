// The pages before the app: first run, sign-in, joining by invitation, and the explanations of why one is not connected.

import { api } from '../api.js';
import { field, form } from './form.js';
import { h, replace } from './dom.js';

const email = () => field({ name: 'email', label: 'Email', type: 'email', autocomplete: 'username', required: true });
const password = (fresh) => field({
  name: 'password', label: 'Password', type: 'password', required: true,
  autocomplete: fresh ? 'new-password' : 'current-password', hint: fresh ? 'At least 8 characters.' : undefined,
});
const name = () => field({ name: 'name', label: 'Your name', autocomplete: 'name', required: true, maxlength: 100 });

function page(root, title, lead, ...content) {
  document.title = `${title} · Hearth`;
  replace(root, h('main', { class: 'gate', id: 'gate' },
    h('div', { class: 'gate-card' },
      h('img', { src: '/static/icon.svg', alt: '', width: 56, height: 56, class: 'gate-mark' }),
      h('h1', {}, title),
      lead && h('p', { class: 'gate-lead' }, lead),
      content)));
  root.querySelector('input')?.focus();
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
        await api.post('/setup', values);
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
          throw error;
        }
        await done();
      },
    }),
    h('p', { class: 'gate-foot' }, 'No account yet? Ask your administrator for an invitation link.'));
}

export async function joinPage(root, code, done) {
  let account;
  try {
    ({ account } = await api.get(`/join/${encodeURIComponent(code)}`));
  } catch (error) {
    const gone = error.code === 'not_found';
    messagePage(root, gone ? 'This invitation does not work' : 'That did not work',
      gone ? 'The link may be mistyped or replaced by a newer one. Ask for a new link.' : error.message,
      { label: 'Go to sign-in', act: () => location.assign('/sign-in') });
    return;
  }
  page(root, `Join ${account.name}`, 'Make your account and come in.',
    form({
      action: 'Join',
      fields: [name(), email(), password(true)],
      submit: async (values) => {
        try {
          await api.post(`/join/${encodeURIComponent(code)}`, values);
        } catch (error) {
          if (error.code === 'email_taken') Object.assign(error, { field: 'email', message: 'There is an account with this email already.' });
          throw error;
        }
        await done();
      },
    }),
    h('p', { class: 'gate-foot' }, 'Have an account? ', h('a', { href: '/sign-in' }, 'Sign in')));
}

export function messagePage(root, title, text, action) {
  page(root, title, text, action && h('button', { type: 'button', class: 'button primary', on: { click: action.act } }, action.label));
}
