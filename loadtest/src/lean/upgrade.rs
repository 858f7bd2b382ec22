//! The upgrade's text: what a lean client asks, and whether the server agreed.

use std::io;

use crate::socket::SUBPROTOCOL;
use crate::wire::Credentials;

const LONGEST_ANSWER: usize = 16 * 1024;

/// The key is any 16 bytes; nobody caches the answer of a socket on loopback.
pub(super) fn request(host: &str, credentials: &Credentials) -> String {
    let who = match credentials {
        Credentials::Anonymous => String::new(),
        Credentials::Cookie(cookie) => format!("Cookie: {cookie}\r\n"),
        Credentials::Bearer(key) => format!("Authorization: Bearer {key}\r\n"),
    };
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: aGVhcnRoLWxvYWR0ZXN0IQ==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{who}\r\n"
    )
}

/// The bytes behind the head of a 101; none while the head is incomplete.
pub(super) fn accepted(answer: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        if answer.len() > LONGEST_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an endless answer to the upgrade"));
        }
        return Ok(None);
    };
    if !answer.starts_with(b"HTTP/1.1 101") {
        let text = String::from_utf8_lossy(answer);
        let text: String = text.chars().take(400).collect();
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("no upgrade but: {text}")));
    }
    Ok(answer.get(end + 4..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end() {
        assert_eq!(accepted(b"HTTP/1.1 101 Switching\r\nA: b\r\n").unwrap(), None);
        assert_eq!(accepted(b"HTTP/1.1 101 Switching\r\n\r\n").unwrap(), Some([].as_slice()));
        assert_eq!(
            accepted(b"HTTP/1.1 101 Switching\r\nA: b\r\n\r\nrest").unwrap(),
            Some(b"rest".as_slice())
        );
        assert!(accepted(b"HTTP/1.1 401 Unauthorized\r\n\r\n{}").is_err());
    }

    #[test]
    fn the_request_ends_with_an_empty_line() {
        let request = request("127.0.0.1:1", &Credentials::Cookie("a=b".to_owned()));
        assert!(request.ends_with("Cookie: a=b\r\n\r\n"), "{request}");
    }
}
