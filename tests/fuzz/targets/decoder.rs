//! Whatever arrives, in whatever pieces: no panic, bounded memory, and the same messages as in one piece.
#![no_main]

use fuzz::protocol::CloseCode;
use fuzz::protocol::websocket::{Decoder, Message};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 300;
/// The longest header of a client's frame.
const HEADER: usize = 14;

fn decode(pieces: Vec<Vec<u8>>) -> (Vec<String>, Option<CloseCode>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut messages = Vec::new();
    for mut piece in pieces {
        let mut over = false;
        let fed = decoder.feed(&mut piece, |message| {
            if let Message::Text(text) = message {
                assert!(text.len() <= LIMIT);
            }
            over = matches!(message, Message::Close(_));
            messages.push(format!("{message:?}"));
            !over
        });
        if let Err(code) = fed {
            return (messages, Some(code));
        }
        if over {
            break;
        }
        // A message in fragments, and a frame of which the end is missing.
        assert!(decoder.held() <= 2 * LIMIT + HEADER, "holds {}", decoder.held());
    }
    (messages, None)
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, sizes) = input;
    let whole = decode(vec![bytes.clone()]);
    let mut rest = bytes.as_slice();
    let mut pieces = Vec::new();
    for size in sizes.into_iter().map(usize::from).chain(std::iter::repeat(7)) {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at((size + 1).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = later;
    }
    assert_eq!(decode(pieces), whole);
});
