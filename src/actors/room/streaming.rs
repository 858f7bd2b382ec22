//! Telling what assistants say while they say it, in one order with the room's events: each byte once, and newcomers get what was
//! told before in their snapshot (AI-07, AI-08).

use super::{Phase, Room};
use crate::actors::answers::Answer;
use crate::domain::{MessageId, RunId, Signal};
use crate::protocol::encode::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The answers a room tells, and how many bytes of each it has told.
#[derive(Default)]
pub(super) struct Streaming(BTreeMap<RunId, (Arc<Answer>, usize)>);

/// What is to be told of an answer.
struct Told {
    begins: bool,
    message: MessageId,
    offset: usize,
    text: Option<String>,
}

impl Streaming {
    /// Takes over what was said before the room was loaded: nobody has heard of it here, and newcomers find it in their snapshot.
    pub(super) fn load(&mut self, answers: Vec<Arc<Answer>>) {
        let seen = answers.into_iter().filter(|answer| answer.message.is_some() && !answer.is_over());
        self.0 = seen.map(|answer| (answer.run, (Arc::clone(&answer), answer.said()))).collect();
    }

    fn tell(&mut self, answer: &Arc<Answer>) -> Option<Told> {
        self.0.retain(|_, (known, _)| !known.is_over());
        let message = answer.message.filter(|_| !answer.is_over())?;
        let known = self.0.get(&answer.run).filter(|(known, _)| Arc::ptr_eq(known, answer));
        let begins = known.is_none();
        let offset = known.map_or(0, |(_, told)| *told);
        let text = answer.since(offset);
        let told = offset + text.as_ref().map_or(0, String::len);
        self.0.insert(answer.run, (Arc::clone(answer), told));
        Some(Told { begins, message, offset, text })
    }

    /// What was told so far of what goes on.
    pub(super) fn snapshot(&mut self) -> Vec<Stream> {
        self.0.retain(|_, (known, _)| !known.is_over());
        self.0
            .values()
            .filter_map(|(answer, told)| Some(Stream::new(answer.run, answer.message?, answer.until(*told))))
            .collect()
    }
}

impl Room {
    /// More was said.
    pub(super) fn on_said(&mut self, answer: &Arc<Answer>) {
        if !matches!(self.phase, Phase::Ready(_)) {
            return;
        }
        let Some(Told { begins, message, offset, text }) = self.streaming.tell(answer) else { return };
        let run = answer.run;
        if begins {
            self.send_signal(&Signal::AnswerBegun { run, message }, None);
        }
        if let Some(text) = text {
            self.send_signal(&Signal::AnswerSaid { run, message, offset, text: text.into() }, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::answers::Answers;
    use crate::domain::RoomId;
    use proptest::prelude::*;

    proptest! {
        /// Whenever somebody comes, the text of their snapshot and the pieces after it are the whole, once.
        #[test]
        fn a_newcomer_misses_nothing_and_hears_nothing_twice(
            pieces in prop::collection::vec("\\PC{0,6}", 1..30),
            joins in 0usize..30,
            loads in 0usize..30,
        ) {
            let answers = Arc::new(Answers::default());
            let speaking = answers.begin(RunId::new(1), RoomId::new(1), Some(MessageId::new(2)), None);
            let answer = speaking.answer();
            let mut streaming = Streaming::default();
            let mut heard: Option<String> = None;
            for (at, piece) in pieces.iter().enumerate() {
                answer.say(piece);
                if at == loads {
                    // The room lost its memory: whoever listened comes anew.
                    streaming = Streaming::default();
                    streaming.load(answers.of(RoomId::new(1)));
                    heard = None;
                }
                if at == joins {
                    heard = Some(streaming.snapshot().pop().map_or_else(String::new, |stream| stream.text));
                }
                // Not each piece is told by itself.
                if at % 3 == 0
                    && let Some(Told { offset, text: Some(text), .. }) = streaming.tell(answer)
                    && let Some(heard) = &mut heard
                {
                    prop_assert_eq!(offset, heard.len());
                    heard.push_str(&text);
                }
            }
            let mut heard = heard.unwrap_or_else(|| streaming.snapshot().pop().map_or_else(String::new, |s| s.text));
            if let Some(Told { offset, text: Some(text), .. }) = streaming.tell(answer) {
                prop_assert_eq!(offset, heard.len());
                heard.push_str(&text);
            }
            prop_assert_eq!(heard, pieces.concat());
        }
    }
}
