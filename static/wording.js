// What refusals say, as sentences of the page. Pure.

/** A text of the server as a sentence: `name is blank` is `Name is blank.` */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…:]$/.test(whole) || !whole ? whole : `${whole}.`;
}

/** The same, about a field that the page calls otherwise than the protocol does. */
export function aboutField(text, name, label) {
  const named = `${name} `;
  return sentence(label && text.toLowerCase().startsWith(named) ? `${label} ${text.slice(named.length)}` : text);
}
