// Cuts a text that grows into what can be said aloud: whole sentences, each once. Pure.

/** A sentence ends with its mark and a space, or with its line; in scripts without spaces with its mark. */
const END = /[.!?…]+["'”’)\]]*(?=\s)|[。！？]+|\n/gu;
/** Longer than this is said in parts, at a word's end. */
const LONGEST = 400;

/** How much of the text from `from` on is whole sentences: the place behind the last of them. */
export function sentencesEnd(text, from) {
  let end = from;
  END.lastIndex = from;
  for (let match = END.exec(text); match; match = END.exec(text)) end = match.index + match[0].length;
  if (end === from && text.length - from > LONGEST) {
    const space = text.lastIndexOf(' ', from + LONGEST);
    end = space > from ? space : from + LONGEST;
  }
  return end;
}

/** Follows answers and gives what is to be said of them: of those that are `fresh` all, of others what comes from now on. */
export class Sayings {
  #said = new Map();

  /** `answers` are those on screen: `{id, name, state, text, why, fresh}`. Gives sentences in the order to be said. */
  next(answers) {
    const out = [];
    for (const { id, name, state, text, why, fresh } of answers) {
      if (fresh && !this.#said.has(id)) this.#said.set(id, { state: 'queued', at: 0 });
      const known = this.#said.get(id);
      if (!known) {
        this.#said.set(id, { state, at: state === 'running' || state === 'queued' ? sentencesEnd(text, 0) : text.length });
        if (state === 'running') out.push(`${name} is answering.`);
        continue;
      }
      if (known.state !== state && state === 'running') out.push(`${name} is answering.`);
      const over = state !== 'queued' && state !== 'running';
      // Begun anew.
      if (text.length < known.at) known.at = 0;
      const end = over ? text.length : sentencesEnd(text, known.at);
      const more = text.slice(known.at, end).trim();
      if (more) out.push(known.at === 0 ? `${name}: ${more}` : more);
      known.at = end;
      if (over && known.state !== state) {
        out.push({ done: `${name} has answered.`, cancelled: `${name} was stopped.`, interrupted: `${name} was interrupted: ${why}`, failed: `${name} failed: ${why}` }[state]);
      }
      known.state = state;
    }
    return out;
  }
}
