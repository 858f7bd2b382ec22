//! Plays a script: the bytes of an answer, in the pieces and at the times that it says.

use super::Asked;
use super::script::{Cut, Framing, Script, Step};
use serde_json::{Value, json};
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How it ended.
pub(super) enum Played {
    /// The connection is good for another request.
    ToItsEnd,
    /// And the end of the connection belongs to it.
    ToItsLastEnd,
    HangsUp,
    Resets,
}

/// Plays it. An error means that nobody reads any more.
pub(super) async fn plays(
    script: Script,
    asked: &Asked,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Played> {
    tokio::time::sleep(script.latency).await;
    if let Some(gate) = &script.gate {
        gate.is_passed().await;
    }
    let (framing, cut, line_end) = (script.framing, script.cut, script.line_end);
    let mut body = Body { to, framing, cut, waiting: Vec::new() };
    body.head(&script).await?;
    for step in script.whole() {
        if !matches!(step, Step::Chunk(_) | Step::Data(_) | Step::Comment(_) | Step::Bytes(_)) {
            body.flush().await?;
        }
        match step {
            Step::Chunk(chunk) => body.event("data", &completed(chunk, asked).to_string(), line_end).await?,
            Step::Data(data) => body.event("data", &data, line_end).await?,
            Step::Comment(comment) => body.event("", &comment, line_end).await?,
            Step::Bytes(bytes) => body.bytes(&bytes).await?,
            Step::Pauses(pause) => tokio::time::sleep(pause).await,
            Step::Comments(every) => loop {
                tokio::time::sleep(every).await;
                body.event("", "still here", line_end).await?;
                body.flush().await?;
            },
            Step::Waits(gate) => gate.is_passed().await,
            Step::Stalls => std::future::pending().await,
            Step::HangsUp => return Ok(Played::HangsUp),
            Step::Resets => return Ok(Played::Resets),
        }
    }
    body.flush().await?;
    Ok(match framing {
        Framing::Chunked => {
            body.to.write_all(b"0\r\n\r\n").await?;
            Played::ToItsEnd
        }
        Framing::Length => Played::ToItsEnd,
        Framing::Closing | Framing::Raw => Played::ToItsLastEnd,
    })
}

/// A chunk with what all chunks of an answer have.
fn completed(mut chunk: Value, asked: &Asked) -> Value {
    let common = [
        ("id", json!(format!("chatcmpl-{}", asked.number))),
        ("object", json!("chat.completion.chunk")),
        ("created", json!(1_700_000_000)),
        ("model", asked.json["model"].clone()),
    ];
    if let Some(fields) = chunk.as_object_mut() {
        for (name, value) in common {
            fields.entry(name).or_insert(value);
        }
    }
    chunk
}

struct Body<'a, W> {
    to: &'a mut W,
    framing: Framing,
    cut: Cut,
    waiting: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Body<'_, W> {
    async fn head(&mut self, script: &Script) -> io::Result<()> {
        let more = match self.framing {
            Framing::Raw => return Ok(()),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Closing => "connection: close\r\n".to_owned(),
            Framing::Length => {
                let length = |step: &Step| if let Step::Bytes(bytes) = step { bytes.len() } else { 0 };
                format!("content-length: {}\r\n", script.steps.iter().map(length).sum::<usize>())
            }
        };
        let headers: String =
            script.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {} Scripted\r\n{headers}{more}\r\n", script.status);
        self.to.write_all(head.as_bytes()).await
    }

    /// A field and the empty line; without a name it is a comment.
    async fn event(&mut self, field: &str, value: &str, line_end: &str) -> io::Result<()> {
        self.bytes(format!("{field}: {value}{line_end}{line_end}").as_bytes()).await
    }

    async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if matches!(self.cut, Cut::Events) { self.flush().await } else { Ok(()) }
    }

    /// Writes what waits, cut as the script says.
    async fn flush(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let size = if let Cut::Every(size) = self.cut { size } else { waiting.len() };
        for piece in waiting.chunks(size.max(1)) {
            if self.framing == Framing::Chunked {
                let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                self.to.write_all(&framed).await?;
            } else {
                self.to.write_all(piece).await?;
            }
        }
        self.to.flush().await
    }
}
