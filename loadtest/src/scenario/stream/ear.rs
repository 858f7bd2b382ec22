//! What one socket hears of an answer: each byte once and in order, and at the end the same text.

use serde::Deserialize;
use tokio::time::Instant;

use crate::stats::Latencies;
use crate::upstream::Track;

/// What was wrong, in bytes or frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Bytes that were left out.
    pub(super) lost: usize,
    /// Bytes that were told again.
    pub(super) doubled: usize,
    /// Pieces with another text than was said, or of another answer.
    pub(super) different: usize,
    /// Pieces after the end, and ends after the end.
    pub(super) disordered: usize,
    /// Subscriptions that ended, and frames that can't be understood.
    pub(super) broken: usize,
    /// Ends with another state or text than that of the whole answer.
    pub(super) ended_otherwise: usize,
}

impl Faults {
    pub(super) fn add(&mut self, other: Faults) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.different += other.different;
        self.disordered += other.disordered;
        self.broken += other.broken;
        self.ended_otherwise += other.ended_otherwise;
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Faults::default()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ear {
    run: Option<u64>,
    /// Bytes heard by now.
    said: usize,
    /// Pieces whose way is measured by now.
    measured: usize,
    over: bool,
    /// Frames with a piece.
    pub(super) deltas: u64,
    pub(super) faults: Faults,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data {
    run_id: Option<u64>,
    offset: Option<usize>,
    text: Option<String>,
    state: Option<String>,
    body: Option<String>,
}

impl Ear {
    /// Whether the end came.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Hears a frame at `now`; how long each piece was on its way goes to `latencies`.
    pub(super) fn hear(&mut self, frame: &[u8], track: &Track, now: Instant, latencies: &mut Latencies) {
        let Ok(frame) = serde_json::from_slice::<Frame>(frame) else {
            self.faults.broken += 1;
            return;
        };
        match frame.kind.as_str() {
            "ai.delta" => self.hear_piece(&frame.data, track, now, latencies),
            "ai.ended" => self.hear_end(&frame.data, track),
            "room.resync" => self.faults.broken += 1,
            _ => {}
        }
    }

    fn is_another(&mut self, data: &Data) -> bool {
        *self.run.get_or_insert(data.run_id.unwrap_or_default()) != data.run_id.unwrap_or_default()
    }

    fn hear_piece(&mut self, data: &Data, track: &Track, now: Instant, latencies: &mut Latencies) {
        self.deltas += 1;
        if self.over {
            self.faults.disordered += 1;
            return;
        }
        let (Some(offset), Some(text)) = (data.offset, &data.text) else {
            self.faults.broken += 1;
            return;
        };
        let end = offset + text.len();
        self.faults.lost += offset.saturating_sub(self.said);
        self.faults.doubled += self.said.min(end).saturating_sub(offset);
        if self.is_another(data) || track.text().get(offset..end) != Some(text.as_str()) {
            self.faults.different += 1;
        }
        self.said = self.said.max(end);
        let on_way = track.written_by(self.said).skip(self.measured);
        for written in on_way {
            self.measured += 1;
            latencies.record(now.saturating_duration_since(written));
        }
    }

    fn hear_end(&mut self, data: &Data, track: &Track) {
        if self.over {
            self.faults.disordered += 1;
            return;
        }
        self.over = true;
        self.faults.lost += track.text().len().saturating_sub(self.said);
        let is_whole = data.body.as_deref() == Some(track.text());
        if self.is_another(data) || !is_whole || data.state.as_deref() != Some("done") {
            self.faults.ended_otherwise += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn delta(offset: usize, text: &str) -> Value {
        json!({"type": "ai.delta", "room_id": 1, "at_seq": 2, "data": {"run_id": 7, "message_id": 3, "offset": offset, "text": text}})
    }

    fn ended(state: &str, body: &str) -> Value {
        json!({"type": "ai.ended", "id": 9, "seq": 3, "room_id": 1, "data": {"run_id": 7, "message_id": 3, "state": state, "body": body}})
    }

    fn hearing(frames: &[Value]) -> Ear {
        let track = Track::new(["a", "é", "bc"]);
        let (mut ear, mut latencies) = (Ear::default(), Latencies::default());
        for frame in frames {
            ear.hear(frame.to_string().as_bytes(), &track, Instant::now(), &mut latencies);
        }
        ear
    }

    #[test]
    fn an_answer_in_whole_has_no_fault() {
        let begun = json!({"type": "ai.state", "room_id": 1, "data": {"run_id": 7, "state": "running"}});
        let ear = hearing(&[begun, delta(0, "aé"), delta(3, "bc"), ended("done", "aébc")]);
        assert!(ear.faults.is_none() && ear.is_over(), "{ear:?}");
        assert_eq!(ear.deltas, 2);
    }

    #[test]
    fn what_is_lost_doubled_different_or_out_of_order_is_found() {
        let faults = |frames: &[Value]| hearing(frames).faults;
        let none = Faults::default();
        assert_eq!(faults(&[delta(0, "a"), delta(3, "bc")]), Faults { lost: 2, ..none });
        assert_eq!(faults(&[delta(0, "aé"), delta(1, "ébc")]), Faults { doubled: 2, ..none });
        assert_eq!(faults(&[delta(0, "aé"), delta(0, "a")]), Faults { doubled: 1, ..none });
        assert_eq!(faults(&[delta(0, "x")]), Faults { different: 1, ..none });
        assert_eq!(faults(&[delta(2, "bc")]), Faults { lost: 2, different: 1, ..none });
        let whole = [delta(0, "aébc"), ended("done", "aébc")];
        assert_eq!(faults(&[&whole[..], &[delta(5, "d")]].concat()), Faults { disordered: 1, ..none });
        assert_eq!(faults(&[&whole[..], &whole[1..]].concat()), Faults { disordered: 1, ..none });
        assert_eq!(faults(&[delta(0, "aé"), ended("done", "aébc")]), Faults { lost: 2, ..none });
        for end in [ended("interrupted", "aébc"), ended("done", "aéb")] {
            assert_eq!(faults(&[delta(0, "aébc"), end]), Faults { ended_otherwise: 1, ..none });
        }
        let resync = json!({"type": "room.resync", "room_id": 1, "from": 3});
        assert_eq!(faults(&[resync, json!({"no": "type"})]), Faults { broken: 2, ..none });
        let mut another = delta(3, "bc");
        another["data"]["run_id"] = 8.into();
        assert_eq!(faults(&[delta(0, "aé"), another]), Faults { different: 1, ..none });
    }
}
