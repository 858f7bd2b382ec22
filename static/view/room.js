// A room on screen: history, who is typing, the composer, and where the new messages begin.

import { bestPresence, PRESENCE_NAMES } from '../store/attendance.js';
import { counterparts, roomTitle, rowsOf, shownWindow, typists } from '../store/select.js';
import { find } from '../store/timeline.js';
import { hereText } from './attendance.js';
import { Composer } from './composer.js';
import { openRoomDetails } from './dialogs.js';
import { reasonOf } from './answer.js';
import { Sayings } from '../sentences.js';
import { h, icon, setText } from './dom.js';
import { MessageList } from './list.js';
import { MessageMenu } from './menu.js';
import { listOf } from './text.js';
import { Welcome } from './welcome.js';

export class RoomPage {
  #line = undefined;
  #heard = null;
  #known = false;
  #shown = [];
  #sayings = new Sayings();
  /** Answers to what is asked from here on are heard from their beginning. */
  #heardFrom = null;

  constructor(client, shell, roomId, messageId) {
    Object.assign(this, { client, shell, roomId, target: messageId });
    this.menu = new MessageMenu(client, this);
    this.list = new MessageList({
      onScroll: (atBottom) => this.#scrolled(atBottom),
      onOlder: () => this.#page('older'),
      onNewer: () => this.#page('newer'),
      onMenu: (button, row) => this.menu.open(button, row),
      onAct: (act, row, button) => this.#act(act, row, button),
    });
    this.typing = h('p', { id: 'typing', 'aria-live': 'polite' });
    this.composer = new Composer(client, this);
    this.welcome = new Welcome(client, shell, roomId);
    this.jump = h('button', { type: 'button', id: 'jump', class: 'jump', hidden: true, on: { click: () => this.toNewest() } }, icon('down'), h('span', {}));
    this.state = h('p', { class: 'history-note', role: 'status' });
    this.el = h('div', { class: 'room' }, h('div', { class: 'room-body' }, this.state, this.welcome.el, this.list.el, this.jump), this.typing, this.composer.el, this.menu.el);
    this.details = h('button', { type: 'button', class: 'icon-button', id: 'members-button', 'aria-label': 'Members and settings', title: 'Members and settings',
      on: { click: () => openRoomDetails(client, shell, roomId) } }, icon('sliders'));
    this.actions = [this.details];
  }

  opened() {
    this.client.open(this.roomId);
    this.shell.remember(this.roomId);
    // With fingers the focus would bring the keyboard up over the conversation.
    if (!matchMedia('(pointer: coarse)').matches) this.composer.focus();
  }

  close() {
    this.client.typing.stop();
    this.client.reading.scrolled(false);
    this.list.close();
  }

  title(state) {
    const room = state.rooms[this.roomId];
    return room ? roomTitle(state, room) : 'Room';
  }

  subtitle(state) {
    const room = state.rooms[this.roomId];
    if (!room) return '';
    if (room.kind === 'direct') {
      const word = PRESENCE_NAMES[bestPresence(state, counterparts(state, room))];
      return word[0].toUpperCase() + word.slice(1);
    }
    const closed = room.members ? `${room.members.length} ${room.members.length === 1 ? 'member' : 'members'}` : 'Closed room';
    return [room.kind === 'open' ? 'Open to everybody' : closed, hereText(room)].filter(Boolean).join(' · ');
  }

  /** Goes to a linked message, which may have to be loaded first. */
  seek(messageId) {
    this.target = messageId;
    if (messageId === null) this.toNewest();
    else this.update(this.client.state);
  }

  toNewest() {
    this.client.store.dispatch({ type: 'excerpt/left', room_id: this.roomId });
    this.target = null;
    if (location.pathname !== `/rooms/${this.roomId}`) this.shell.go(`/rooms/${this.roomId}`, { replace: true });
    this.update(this.client.state);
    this.list.toBottom();
  }

  update(state) {
    const room = state.rooms[this.roomId];
    this.details.hidden = !room || room.kind === 'direct';
    if (!room) {
      this.#missing(state);
      return;
    }
    this.#known = true;
    if (state.open !== this.roomId) this.client.open(this.roomId);
    if (room.kind === 'closed' && !room.members) this.#learnMembers();
    if (this.#line === undefined && state.epoch !== null) this.#line = room.unread > 0 ? room.read : null;
    this.#newMessages(state, room);
    const { loading, failed } = room.timeline;
    const window = shownWindow(room);
    const ready = room.timeline.excerpt !== null || room.timeline.live.loaded;
    const shown = [room.timeline, room.streams, room.asks, room.stopping, room.created_by, state.me, state.outbox, state.edits, state.changes, state.users, this.#line];
    if (shown.some((part, index) => part !== this.#shown[index])) {
      this.#shown = shown;
      const rows = rowsOf(state, this.roomId, this.#line ?? null);
      this.#say(rows, ready);
      this.list.update(rows, { ready, older: window.older, newer: window.newer ?? false, loading });
    }
    this.#note(room, ready, loading, failed);
    this.welcome.update(state, room);
    this.#target(room);
    this.#typing(typists(state, this.roomId));
    this.composer.update(state);
    this.#jump(room);
  }

  /** The welcome does not say who is in a closed room. */
  #learnMembers() {
    if (this.learning) return;
    this.learning = this.client.learnRoom(this.roomId).catch(() => {});
  }

  #page(want) {
    const room = this.client.state.rooms[this.roomId];
    if (!room || room.timeline.failed?.want === want) return;
    this.client.effects.page(this.roomId, want);
  }

  /** Keeps the line where reading stopped, and says aloud what others wrote meanwhile. */
  #newMessages(state, room) {
    const failed = state.outbox.filter((entry) => entry.room_id === this.roomId && entry.state === 'failed').length;
    if (failed > (this.failed ?? 0)) this.shell.announce('A message was not sent.');
    this.failed = failed;
    const { messages, loaded } = room.timeline.live;
    if (!loaded) {
      this.#heard = null;
      return;
    }
    const last = messages.at(-1)?.seq ?? 0;
    if (this.#heard !== null) {
      const fresh = messages.filter(({ seq }) => seq > this.#heard);
      const others = fresh.filter(({ author }) => author.id !== state.me.id);
      if (fresh.length > others.length) this.#line = null;
      else if (others.length && this.#line === null && !this.client.reading.attentive) this.#line = Math.min(room.read, others[0].seq - 1);
      for (const { author, body } of others.filter(({ run }) => !run).slice(-5)) this.shell.announce(`${author.name}: ${body.length > 300 ? `${body.slice(0, 300)}…` : body}`);
      if (others.length && !this.list.atBottom) this.waiting = (this.waiting ?? 0) + others.length;
    }
    this.#heard = Math.max(last, this.#heard ?? 0);
  }

  /** What assistants say, to those who listen: in sentences, not in pieces. */
  #say(rows, ready) {
    if (!ready) return;
    this.#heardFrom ??= rows.findLast(({ message }) => message?.seq)?.message.seq ?? 0;
    const answers = rows.filter(({ answer }) => answer).map(({ answer, message, name }) => ({ ...answer, name, why: reasonOf(answer), fresh: message.seq > this.#heardFrom }));
    for (const text of this.#sayings.next(answers)) this.shell.announce(text, this.shell.answers);
  }

  #note(room, ready, loading, failed) {
    setText(this.state, failed ? `${failed.message} ` : !ready && loading ? 'Loading…' : '');
    if (!failed) return;
    this.state.append(h('button', { type: 'button', class: 'button small', on: { click: () => this.client.effects.page(this.roomId, failed.want, this.target) } }, 'Try again'));
  }

  #target(room) {
    if (this.target === null || room.timeline.loading || this.client.state.connection.state === 'connecting') return;
    if (find(room.timeline, this.target)) {
      this.list.show(this.target);
      this.target = null;
    } else if (!room.timeline.failed && room.level === 'full') {
      const messageId = this.target;
      this.target = null;
      this.client.effects.page(this.roomId, 'around', messageId).then((done) => {
        if (!done) return;
        const line = this.client.state.rooms[this.roomId]?.timeline;
        if (line && find(line, messageId)) this.target = messageId;
        else this.client.notify('That message is not here any more.');
        this.update(this.client.state);
      });
    }
  }

  #typing(names) {
    setText(this.typing, names.length ? `${listOf(names)} ${names.length === 1 ? 'is' : 'are'} typing…` : '');
  }

  #scrolled(atBottom) {
    const room = this.client.state.rooms[this.roomId];
    if (!room) return;
    if (atBottom) this.waiting = 0;
    this.client.reading.scrolled(atBottom && !room.timeline.excerpt);
    this.#jump(room);
  }

  #jump(room) {
    const away = room.timeline.excerpt || (!this.list.atBottom && (this.waiting > 0 || this.list.far));
    this.jump.hidden = !away;
    setText(this.jump.lastElementChild, this.waiting > 0 ? `${this.waiting} new ${this.waiting === 1 ? 'message' : 'messages'}` : 'Newest messages');
  }

  #act(act, row, button) {
    const { dispatch } = this.client.store;
    if (act === 'answer-stop') this.#stop(row);
    if (act === 'answer-again') this.again(row);
    if (act === 'ask-retry') this.#askAgain(row, Number(button.dataset.assistant));
    if (act === 'retry') this.client.sender.retry(row.entry);
    if (act === 'take-back') dispatch({ type: 'send/taken-back', client_message_id: row.entry.client_message_id });
    if (act === 'discard') dispatch({ type: 'send/discarded', client_message_id: row.entry.client_message_id });
    if (act === 'edit-cancel') dispatch({ type: 'edit/closed', message_id: row.message.id });
    if (act.typed !== undefined) dispatch({ type: 'edit/typed', message_id: row.message.id, text: act.typed });
    if (act.save !== undefined) this.client.edit(this.roomId, row.message.id, act.save);
    if (act === 'take-back' || act === 'edit-cancel' || act.save !== undefined) this.composer.focus();
  }

  /** What was pressed goes away: the focus stays with its message. */
  #stop({ message, answer }) {
    this.list.focus(message.id);
    this.client.asker.end(this.roomId, answer.id);
  }

  /** Asks for one more answer to the same question. */
  async again({ message, answer }) {
    this.list.focus(message.id);
    const ask = { room_id: this.roomId, at: message.id, message_id: answer.prompt_id, assistant_id: message.author.id, regenerates: answer.id };
    const reply = await this.client.asker.ask(ask);
    if (reply?.duplicate) this.seek(reply.message_id);
  }

  #askAgain({ message, asks }, assistantId) {
    this.list.focus(message.id);
    const ask = asks?.find(({ assistant_id }) => assistant_id === assistantId);
    if (ask) this.client.asker.ask({ ...ask, room_id: this.roomId, at: message.id });
  }

  edit(message) {
    this.client.store.dispatch({ type: 'edit/opened', room_id: this.roomId, message });
    this.update(this.client.state);
    this.list.focusEditor(message.id);
  }

  /** The arrow up in an empty composer. */
  editLast() {
    const { state } = this.client;
    const last = state.rooms[this.roomId]?.timeline.live.messages.findLast(({ author }) => author.id === state.me.id);
    if (last) this.edit(last);
    return Boolean(last);
  }

  #missing(state) {
    if (state.epoch === null || this.asked) {
      if (this.#known) this.#gone();
      return;
    }
    this.asked = true;
    if (this.#known) this.#gone();
    else this.client.learnRoom(this.roomId).catch(() => this.#gone());
  }

  #gone() {
    this.client.notify(this.#known ? 'This room is not there for you any more.' : 'There is no such room, or it is not yours to see.');
    this.#known = false;
    setTimeout(() => this.shell.go('/', { replace: true }), 0);
  }
}
