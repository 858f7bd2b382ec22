//! How many tokens a text has at most, without the model's tokenizer (SUM-01).
//!
//! Too many cost a little of the window; too few cost the answer. So the estimate errs upwards. What holds for every tokenizer in use
//! (byte-level BPE; SentencePiece with bytes to fall back on) is that no token is less than a byte: a text has no more tokens than
//! bytes. Only where all of them do much better is less counted, the rule being:
//!
//! | text | tokens | why |
//! | --- | --- | --- |
//! | a word: up to 16 ASCII letters, small but for the first, with the one space before it | one for each 2 bytes, rounded up | English has one for 4; short syllables of any language with Latin letters, and what has no meaning, one for 2 |
//! | other runs of ASCII letters | one each | capitals, camel case, base64 and names glued together are cut unforeseeably |
//! | digits, punctuation, control characters, newlines, further spaces | one each | some models take digits one by one, and old ones spaces too |
//! | all beyond ASCII | one for each byte | what a vocabulary doesn't know is given as bytes: three for a character of Chinese, four for an emoji |

use super::chat::{Message, Tool};

/// What stands around a message: marks of beginning, role, line ends, mark of the end. Templates in use take four to eight.
const MESSAGE: usize = 10;
/// What stands around them all: the beginning, the opening of the answer, and the lines some templates put before the system prompt.
const CONVERSATION: usize = 48;
/// What stands around a tool, with what templates say once of all of them.
const TOOL: usize = 40;
/// Letters that a word may have; what is longer is no word.
const WORD: usize = 16;

/// At most so many tokens has `text`. Grows with the text: no part of it has more than the whole.
pub fn estimate(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut tokens = 0;
    let mut rest = bytes;
    let mut before = b'\n';
    while let Some((&first, tail)) = rest.split_first() {
        let has_space = first == b' ' && before != b' ' && tail.first().is_some_and(u8::is_ascii_alphabetic);
        let letters = if has_space { tail } else { rest };
        let length = letters.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if length == 0 {
            tokens += 1;
            rest = tail;
            before = first;
            continue;
        }
        let (run, tail) = letters.split_at(length);
        let is_word = length <= WORD && run.iter().skip(1).all(u8::is_ascii_lowercase);
        let space = usize::from(has_space);
        tokens += if is_word { (length + space).div_ceil(2) } else { length + space };
        rest = tail;
        before = b'x';
    }
    tokens
}

/// No tokenizer makes more of `text`, whatever its vocabulary lacks: a token is never less than a byte, and SentencePiece writes a space
/// in three. Much too many for most; for decisions where too few would be wrong.
pub fn most(text: &str) -> usize {
    text.bytes().map(|byte| if byte == b' ' { 3 } else { 1 }).sum()
}

/// A message with what stands around it.
pub fn of_message(message: &Message) -> usize {
    MESSAGE
        + match message {
            Message::System(text) | Message::User(text) => estimate(text),
            Message::Assistant { text, calls } => {
                let calls = calls
                    .iter()
                    .map(|call| TOOL + estimate(&call.id) + estimate(&call.name) + estimate(&call.arguments));
                estimate(text) + calls.sum::<usize>()
            }
            Message::Tool { call_id, text } => estimate(call_id) + estimate(text),
        }
}

/// A tool that is offered.
pub fn of_tool(tool: &Tool) -> usize {
    TOOL + estimate(&tool.name) + estimate(&tool.description) + estimate(&tool.parameters.to_string())
}

/// A whole prompt.
pub fn of_messages(messages: &[Message]) -> usize {
    CONVERSATION + messages.iter().map(of_message).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts with at least so many tokens as any of the tokenizers in use is known to make of them, by what each is made of.
    #[test]
    fn samples_are_never_under_counted() {
        for (text, least, why) in [
            ("", 0, "nothing is nothing"),
            (
                "The quick brown fox jumps over the lazy dog.",
                12,
                "English: nine words and a full stop, with room",
            ),
            ("Donaudampfschifffahrtsgesellschaft", 16, "compounds are cut into syllables"),
            ("xkqzjvwb", 4, "letters without meaning: pairs at worst"),
            ("3.14159265358979", 16, "digits one by one, as Llama 2 has them"),
            ("2026-11-21T13:00:00.000Z", 24, "times are digits and signs"),
            ("你好世界", 12, "characters that the vocabulary lacks are three bytes"),
            ("Привет", 12, "two bytes each at worst"),
            ("👩‍👩‍👧‍👦", 25, "four bytes each and the joiners between"),
            ("aGVsbG8gd29ybGQ", 11, "base64 has about 1.4 characters in a token"),
            ("d41d8cd98f00b204e9800998ecf8427e", 24, "hexadecimal digits are cut at random"),
            ("if (a[i] != b[j++]) { return !x; }", 24, "each sign of code may be a token"),
            ("        return", 10, "indentation one by one, as GPT-2 has it"),
            ("\n\n\n\t\t", 5, "lines and tabs"),
            ("getUserNameByEmailAddress", 25, "camel case counts in full"),
            ("HTTPS README TODO", 17, "capitals count in full"),
            ("\u{0}\u{1}\u{7f}", 3, "control characters are bytes"),
        ] {
            assert!(estimate(text) >= least, "{text:?} is {} and not {least}: {why}", estimate(text));
            assert!(estimate(text) <= text.len(), "{text:?} has no more tokens than bytes");
        }
    }

    #[test]
    fn english_isnt_counted_much_too_high() {
        let text = "Room text enters prompts as delimited data, and an injected instruction cannot change the role of anybody.";
        let estimate = estimate(text);
        assert!(estimate <= text.len() * 6 / 10, "{estimate} of {} bytes", text.len());
    }

    #[test]
    fn what_stands_around_is_counted() {
        let message = Message::User("hi".to_owned());
        assert_eq!(of_message(&message), MESSAGE + 1);
        assert_eq!(of_messages(&[message.clone(), message]), CONVERSATION + 2 * (MESSAGE + 1));
    }

    proptest! {
        /// At least a token for two bytes, however they are put: the only saving there is. And a longer text is never less.
        #[test]
        fn between_half_the_bytes_and_all_of_them(text in any::<String>(), more in "[a-zA-Z0-9 \n.é]{0,40}") {
            let both = format!("{text}{more}");
            prop_assert!(estimate(&both) <= both.len());
            prop_assert!(estimate(&both) * 2 >= both.len());
            prop_assert!(estimate(&both) >= estimate(&text), "{both:?}");
            prop_assert!(estimate(&both) >= estimate(&more), "{both:?}");
        }
    }
}
