// The frame around every page: sidebar, top bar, connection state, live announcements, and routing by path.
//
// Hooks that browser tests may rely on:
//   form fields by `name`: account_name, name, email, password; every form's button is [type=submit]
//   #connection[data-state=connecting|connected|waiting|offline|stopped]   #sign-out   #announcer (polite live region)
//   .room-link[data-room-id] with .unread (the badge) and [aria-current=page]   #new-room   #new-direct   #switcher
//   #composer (textarea)   #composer-note   #typing   #jump
//   .message[data-id] with .body, .author, .time, .edited; [data-state=pending|sent|failed]; [data-client-message-id]
//   data-id is there once the server has given it; a failed one has .retry, .take-back and .discard
//   .message-menu (button), #menu [data-act=edit|delete|copy-link|copy-text]   .editor textarea   .editor-note
//   .new-line   .day   #members-button   #members [data-user-id]   .person[data-user-id]
//   #invite-link (on the people page, and in an empty room while nobody else is here)   #bot-key   #bot-example
//   #search-words   .hit[data-id]   #profile form   #account form   #password form   .saved (what a form says once it is done)
//   #devices [data-session-id]   #end-others   #another-device   #link-card[data-state=open|used|over|failed] with #qr, #transfer-link,
//   #link-left, #link-state, #new-link   .notice a   gate: #signed-in-as, .gate-lead
//   .person-more   #person: select[name=role], #make-recovery, #deactivate, #ban, #reactivate, #unban   #closed-accounts   #bans [data-user-id]
//   #invites [data-invite-id][data-state=open|used|over|revoked]   #new-invite   #new-invite-link   #rotate-join-code
//   #bots [data-user-id] with .key[data-key-id] .revoke, .rotate, .remove   #rotate form
//   .message[data-answer=queued|running|done|cancelled|interrupted|failed] with .answer-foot[data-answer], .answer-stop, .answer-again, .usage,
//   .answer-cut; .message-foot[data-refused=<code>] with .ask-retry   #answers (polite live region: whole sentences)
//   #mentions [role=option][data-user-id]   #requests [data-request-id][data-state] with .request-roll, .request-choice, .die, .request-decline
//   #assistants [data-user-id] with .change, .switch, .remove   #new-assistant form   #assistant form   #budgets   #usage   #preferences form, .pending
//   #audit .audit-entry[data-action]   #audit-filters form   #audit-state   #audit-more   #audit-export

import { roomTitle, totalUnread } from '../store/select.js';
import { AssistantsPage } from './assistants.js';
import { AuditPage } from './audit.js';
import { BotsPage } from './bots.js';
import { Connection } from './connection.js';
import { h, icon, replace, setAttributes, setText } from './dom.js';
import { PeoplePage } from './people.js';
import { Requests } from './requests.js';
import { RoomPage } from './room.js';
import { SearchPage } from './search.js';
import { SettingsPage } from './settings.js';
import { Sidebar } from './sidebar.js';
import { openSwitcher } from './switcher.js';

const LAST_ROOM = 'hearth.last-room.';
const PAGES = { '/people': PeoplePage, '/bots': BotsPage, '/assistants': AssistantsPage, '/audit': AuditPage, '/search': SearchPage, '/settings': SettingsPage };

export class Shell {
  #listening = new AbortController();
  #scheduled = false;
  #page = null;
  #pagePath = null;
  #role = null;

  constructor(root, client) {
    Object.assign(this, { root, client });
    this.sidebar = new Sidebar(client, this);
    this.connection = new Connection(client);
    this.heading = h('h1', { class: 'bar-title' });
    this.subtitle = h('p', { class: 'bar-subtitle' });
    this.actions = h('div', { class: 'bar-actions' });
    this.announcer = h('div', { id: 'announcer', class: 'visually-hidden', role: 'log', 'aria-live': 'polite' });
    this.answers = h('div', { id: 'answers', class: 'visually-hidden', role: 'log', 'aria-live': 'polite', 'aria-label': 'What assistants say' });
    this.requests = new Requests(client, this);
    this.notice = h('div', { class: 'notice', role: 'status' });
    this.main = h('main', { class: 'page', id: 'main', tabIndex: -1 });
    this.menuButton = h('button', { type: 'button', class: 'icon-button drawer-button', 'aria-label': 'Rooms', 'aria-expanded': 'false', 'aria-controls': 'sidebar',
      on: { click: () => this.drawer(!this.app.classList.contains('drawer-open')) } }, icon('menu'), h('span', { class: 'drawer-badge', hidden: true }));
    this.app = h('div', { class: 'app' },
      h('a', { class: 'skip', href: '#composer', on: { click: (event) => this.#skip(event) } }, 'Skip to the message box'),
      this.sidebar.el,
      h('div', { class: 'scrim', on: { click: () => this.drawer(false) } }),
      h('div', { class: 'pane' },
        h('header', { class: 'bar' }, this.menuButton,
          h('div', { class: 'bar-text' }, this.heading, this.subtitle),
          this.actions, this.connection.el),
        this.notice, this.requests.el, this.main),
      this.announcer, this.answers);
    replace(root, this.app);
    const { signal } = this.#listening;
    addEventListener('popstate', () => this.#route(), { signal });
    document.addEventListener('keydown', (event) => this.#key(event), { signal });
    this.app.addEventListener('click', (event) => this.#followLink(event));
    this.unsubscribe = client.store.subscribe(() => this.#schedule());
    this.#route();
  }

  close() {
    this.#listening.abort();
    this.unsubscribe();
    this.#page?.close?.();
    this.connection.close();
    for (const dialog of document.querySelectorAll('dialog')) dialog.close();
    replace(this.root);
  }

  go(path, { replace: inPlace = false } = {}) {
    if (path !== location.pathname) history[inPlace ? 'replaceState' : 'pushState'](null, '', path);
    this.drawer(false);
    if (path === this.#pagePath) this.#page?.opened?.();
    this.#route();
  }

  drawer(open) {
    this.app.classList.toggle('drawer-open', open);
    setAttributes(this.menuButton, { 'aria-expanded': open });
    if (open) this.sidebar.focus();
  }

  /** Says something to those who listen instead of look. */
  announce(text, region = this.announcer) {
    region.append(h('p', {}, text));
    while (region.childElementCount > 20) region.firstElementChild.remove();
  }

  #route() {
    const path = location.pathname;
    if (path !== this.#pagePath) {
      const room = /^\/rooms\/(\d+)(?:\/@(\d+))?$/.exec(path);
      if (room && this.#page instanceof RoomPage && this.#page.roomId === Number(room[1])) this.#page.seek(room[2] ? Number(room[2]) : null);
      else this.#turnTo(room ? new RoomPage(this.client, this, Number(room[1]), room[2] ? Number(room[2]) : null)
        : path === '/' ? null : new (PAGES[path] ?? Lost)(this.client, this));
      this.#pagePath = path;
    }
    this.#render();
  }

  #turnTo(page) {
    this.#role = this.client.state.me.role;
    this.#page?.close?.();
    this.#page = page;
    replace(this.main, page?.el);
    replace(this.actions, page?.actions);
    if (!(page instanceof RoomPage)) this.client.open(null);
    page?.opened?.();
    // What had the focus may be gone with the page before.
    if (!this.main.contains(document.activeElement)) this.main.focus({ preventScroll: true });
  }

  /** In a hidden tab nothing is painted, but the title still counts. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const run = () => {
      this.#scheduled = false;
      if (!this.#listening.signal.aborted) this.#render();
    };
    if (document.hidden) setTimeout(run, 0);
    else requestAnimationFrame(run);
  }

  #render() {
    const { state } = this.client;
    if (location.pathname === '/' && state.epoch !== null && this.#goHome(state)) return;
    // What one may see of a page is another then.
    if (this.#role !== state.me.role && this.#page && !(this.#page instanceof RoomPage)) this.#turnTo(new (PAGES[this.#pagePath] ?? Lost)(this.client, this));
    this.sidebar.update(state);
    this.connection.update(state);
    this.requests.update(state);
    this.#page?.update?.(state);
    const title = this.#page?.title?.(state) ?? state.account.name ?? 'Hearth';
    setText(this.heading, title);
    setText(this.subtitle, this.#page?.subtitle?.(state) ?? '');
    const unread = totalUnread(state);
    document.title = `${unread ? `(${unread}) ` : ''}${title} · ${state.account.name ?? 'Hearth'}`;
    const badge = this.menuButton.lastElementChild;
    badge.hidden = unread === 0;
    setText(badge, unread > 99 ? '99+' : String(unread));
    setAttributes(this.menuButton, { 'aria-label': unread ? `Rooms, ${unread} unread` : 'Rooms' });
    this.#showNotice(state.notice);
  }

  #goHome(state) {
    const rooms = Object.values(state.rooms).filter(({ kind }) => ['open', 'closed', 'direct'].includes(kind));
    if (!rooms.length) return false;
    const last = Number(localStorage.getItem(LAST_ROOM + state.me.id));
    const room = rooms.find(({ id }) => id === last) ?? rooms.find(({ kind }) => kind === 'open') ?? rooms[0];
    this.go(`/rooms/${room.id}`, { replace: true });
    return true;
  }

  remember(roomId) {
    localStorage.setItem(LAST_ROOM + this.client.state.me.id, roomId);
  }

  #showNotice(notice) {
    if (this.shownNotice === notice) return;
    this.shownNotice = notice;
    replace(this.notice, notice && [h('span', {}, notice.text, notice.link && [' ', h('a', { href: notice.link.href }, notice.link.text)]),
      h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Dismiss', on: { click: () => this.client.notify(null) } }, icon('close'))]);
  }

  #followLink(event) {
    const link = event.target.closest?.('a[href]');
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute('download') || link.origin !== location.origin || link.getAttribute('href').startsWith('#')) return;
    event.preventDefault();
    this.go(link.pathname);
  }

  #skip(event) {
    event.preventDefault();
    (document.getElementById('composer') ?? this.main.querySelector('input, button, a'))?.focus();
  }

  #key(event) {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      if (!document.querySelector('dialog[open]')) openSwitcher(this.client, this);
    } else if (event.key === 'Escape' && this.app.classList.contains('drawer-open') && !document.querySelector('dialog[open]')) {
      this.drawer(false);
      this.menuButton.focus();
    }
  }

  roomPath(room) {
    return `/rooms/${room.id}`;
  }

  roomTitle(room) {
    return roomTitle(this.client.state, room);
  }
}

class Lost {
  el = h('div', { class: 'empty' }, h('h2', {}, 'There is nothing here'), h('p', {}, 'The address may be mistyped.'), h('a', { class: 'button', href: '/' }, 'Back to the rooms'));
  title() { return 'Not found'; }
}
