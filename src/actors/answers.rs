//! What assistants are saying at this moment: one text per run, shared by the worker that writes it and the rooms that tell it.
//!
//! A room that is loaded in the middle of an answer finds it here, so that what it tells goes on where a newcomer's snapshot ends.

use crate::domain::{EventBody, MessageId, RoomId, RunId, UserId};
use dashmap::DashMap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// An answer in the making.
#[derive(Debug)]
pub struct Answer {
    pub run: RunId,
    pub room: RoomId,
    /// None: nobody sees it before it is done.
    pub message: Option<MessageId>,
    pub asker: Option<UserId>,
    text: Mutex<String>,
    over: AtomicBool,
    stopping: AtomicBool,
    stop: Notify,
}

impl Answer {
    /// Says more; gives how many bytes were said by now.
    pub fn say(&self, more: &str) -> usize {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(more);
        text.len()
    }

    /// Begins anew: nothing of it was told yet.
    pub fn unsay(&self) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many bytes were said.
    pub fn said(&self) -> usize {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is nothing to read yet.
    pub fn is_blank(&self) -> bool {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).trim().is_empty()
    }

    /// What was said from byte `from` on; none when there is nothing.
    pub fn since(&self, from: usize) -> Option<String> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.get(from..).filter(|rest| !rest.is_empty()).map(str::to_owned)
    }

    /// What was said up to byte `to`.
    pub fn until(&self, to: usize) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.get(..to).unwrap_or(&text).to_owned()
    }

    /// Asks whoever writes it to end; true the first time.
    pub fn stop(&self) -> bool {
        let is_first = !self.stopping.swap(true, Ordering::AcqRel);
        self.stop.notify_one();
        is_first
    }

    /// Whether it was asked to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Comes to its end when it is asked to end.
    pub async fn stopped(&self) {
        while !self.is_stopping() {
            self.stop.notified().await;
        }
    }

    /// Nothing of it is told any more, whatever is said, and whoever writes it may end.
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.stop();
    }

    /// Whether nothing of it is told any more.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// The answers in the making; shared by all threads.
#[derive(Debug, Default)]
pub struct Answers {
    rooms: DashMap<RoomId, HashMap<RunId, Arc<Answer>>>,
}

/// An answer as long as somebody works at it.
#[derive(Debug)]
pub struct Speaking {
    answers: Arc<Answers>,
    answer: Arc<Answer>,
}

impl Speaking {
    /// The answer.
    pub fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        let answer = &self.answer;
        answer.over.store(true, Ordering::Release);
        self.answers.rooms.remove_if_mut(&answer.room, |_, runs| {
            if runs.get(&answer.run).is_some_and(|known| Arc::ptr_eq(known, answer)) {
                runs.remove(&answer.run);
            }
            runs.is_empty()
        });
    }
}

impl Answers {
    /// Begins one. It is there until what this gives is dropped.
    pub fn begin(
        self: &Arc<Self>,
        run: RunId,
        room: RoomId,
        message: Option<MessageId>,
        asker: Option<UserId>,
    ) -> Speaking {
        let answer = Arc::new(Answer {
            run,
            room,
            message,
            asker,
            text: Mutex::default(),
            over: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        });
        self.rooms.entry(room).or_default().insert(run, Arc::clone(&answer));
        Speaking { answers: Arc::clone(self), answer }
    }

    /// Those of a room.
    pub fn of(&self, room: RoomId) -> Vec<Arc<Answer>> {
        self.rooms.get(&room).map(|runs| runs.values().cloned().collect()).unwrap_or_default()
    }

    /// Asks the one who works at `run` to end, if it is somebody here.
    pub fn stop(&self, room: RoomId, run: RunId) -> bool {
        let answer = self.rooms.get(&room).and_then(|runs| runs.get(&run).cloned());
        answer.is_some_and(|answer| answer.stop())
    }

    /// What became known of the room's answers by an event: one that ended, or whose message is deleted, is told no further, so that
    /// nothing follows its end (AI-05).
    pub fn end_by(&self, room: RoomId, event: &EventBody) {
        let is_its = |answer: &Answer| match event {
            EventBody::AnswerEnded { run } => answer.run == run.id,
            EventBody::MessageDeleted { message, .. } => answer.message == Some(*message),
            EventBody::RoomDeleted { .. } => true,
            _ => false,
        };
        let Some(runs) = self.rooms.get(&room) else { return };
        runs.values().filter(|answer| is_its(answer)).for_each(|answer| answer.end());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rooms.iter().map(|runs| runs.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_as_long_as_it_is_worked_at() {
        let answers = Arc::new(Answers::default());
        let (room, run) = (RoomId::new(1), RunId::new(2));
        let speaking = answers.begin(run, room, Some(MessageId::new(3)), None);
        let other = answers.begin(RunId::new(4), room, None, None);
        assert_eq!(speaking.answer().say("Grüße"), 7);
        assert_eq!(speaking.answer().since(2).as_deref(), Some("üße"));
        assert_eq!(speaking.answer().since(7), None);
        assert_eq!(speaking.answer().until(2), "Gr");
        assert_eq!(answers.len(), 2);
        assert!(answers.stop(room, run) && !answers.stop(room, run), "asked once");
        let kept = Arc::clone(speaking.answer());
        drop(speaking);
        assert!(kept.is_over() && !other.answer().is_over());
        assert!(!answers.stop(room, run));
        drop(other);
        assert!(answers.is_empty());
    }
}
