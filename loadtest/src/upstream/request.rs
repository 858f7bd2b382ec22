//! A request to the endpoint, as far as it matters which text is asked for.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// No request of the server is longer.
const MOST: usize = 4 * 1024 * 1024;
const MARK: &str = "stream#";

/// What a question has to contain to be answered with the text of this number.
pub fn marker(index: usize) -> String {
    format!("{MARK}{index}#")
}

/// One request, read whole.
pub(super) struct Request {
    line: String,
    body: String,
}

impl Request {
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
        let mut bytes = Vec::new();
        loop {
            if let Some(request) = Request::parse(&bytes)? {
                return Ok(request);
            }
            if bytes.len() > MOST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a request that doesn't end"));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// None while something is missing.
    fn parse(bytes: &[u8]) -> io::Result<Option<Request>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = bytes.split_at(end);
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = match length.unwrap_or(Ok(0)) {
            Ok(length) if length <= MOST => length,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a length that can't be")),
        };
        let body = body.get(4..).and_then(|body| body.get(..length));
        Ok(body.map(|body| Request { line, body: String::from_utf8_lossy(body).into_owned() }))
    }

    /// The number of the text it asks for: that of its last question.
    pub(super) fn stream(&self) -> Option<usize> {
        let mut line = self.line.split(' ');
        if line.next() != Some("POST") || !line.next()?.ends_with("/chat/completions") {
            return None;
        }
        let (_, rest) = self.body.rsplit_once(MARK)?;
        rest.split_once('#')?.0.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, body: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_request_is_read_whole_however_it_comes() {
        let text =
            request("POST /v1/chat/completions", &format!("{{\"é\":\"{} and {}\"}}", marker(3), marker(12)));
        let (mut here, mut there) = tokio::io::duplex(7);
        let (read, ()) = tokio::join!(Request::read(&mut there), async {
            tokio::io::AsyncWriteExt::write_all(&mut here, text.as_bytes()).await.unwrap();
        });
        assert_eq!(read.unwrap().stream(), Some(12));
        drop(here);
        assert!(Request::read(&mut there).await.is_err(), "nothing came");
    }

    #[test]
    fn only_questions_about_a_text_name_one() {
        let stream = |line: &str, body: &str| {
            Request::parse(request(line, body).as_bytes()).unwrap().and_then(|request| request.stream())
        };
        assert_eq!(stream("POST /v1/chat/completions", "stream#0#"), Some(0));
        for (line, body) in [
            ("GET /v1/chat/completions", "stream#0#"),
            ("POST /v1/models", "stream#0#"),
            ("POST /v1/chat/completions", "stream#x#"),
            ("POST /v1/chat/completions", "stream#0"),
            ("POST /v1/chat/completions", ""),
        ] {
            assert_eq!(stream(line, body), None, "{line} {body}");
        }
        assert!(Request::parse(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
