//! Any text of a client: understood, or refused with a text that the client can read; never a panic.
#![no_main]

use fuzz::protocol::client_frame::REQUEST_ID_BYTES;
use fuzz::protocol::{ClientFrame, TraceId, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let request_id = match ClientFrame::parse(text) {
        Ok(frame) => {
            assert!(!frame.request.kind().is_empty());
            assert_eq!(ClientFrame::parse(text).ok().as_ref(), Some(&frame), "the same again");
            frame.request_id
        }
        Err(bad) => {
            let answer = encode::error(bad.request_id.as_deref(), &bad.rejection, TraceId::random());
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("the answer is JSON");
            assert_eq!(answer["error"]["code"], bad.rejection.code.as_str());
            bad.request_id
        }
    };
    assert!(request_id.is_none_or(|id| id.len() <= REQUEST_ID_BYTES));
});
