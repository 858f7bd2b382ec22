//! Why a socket did not work, and whether coming back makes sense.

use tokio_tungstenite::tungstenite;

use crate::wire::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// An `error` frame, or an HTTP answer instead of the upgrade.
    #[error("refused: {0}")]
    Refused(Box<Refusal>),
    #[error("closed with {code} {reason}")]
    Closed { code: u16, reason: String },
    /// The connection ended without a close frame.
    #[error("connection lost")]
    Lost,
    #[error("no sign of {0} in time")]
    Silent(&'static str),
    #[error("connection: {0}")]
    Transport(Box<tungstenite::Error>),
    /// Something the protocol does not allow.
    #[error("{0}")]
    Shape(String),
}

impl SocketError {
    /// The whole reconnect policy: below 4500 come back, from 4500 on stay away. A refused handshake is final
    /// unless it says `retryable` (the server is up but not ready); a protocol breach is final always.
    pub fn may_reconnect(&self) -> bool {
        match self {
            SocketError::Closed { code, .. } => *code < 4500,
            SocketError::Refused(refusal) => {
                refusal.retryable || refusal.status == 408 || refusal.status >= 500
            }
            SocketError::Shape(_) => false,
            SocketError::Lost | SocketError::Silent(_) | SocketError::Transport(_) => true,
        }
    }

    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            SocketError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The code of the `error` frame; empty for all else.
    pub fn code(&self) -> &str {
        self.refusal().map_or("", |refusal| refusal.code.as_str())
    }
}

impl From<std::io::Error> for SocketError {
    fn from(error: std::io::Error) -> SocketError {
        SocketError::Transport(Box::new(error.into()))
    }
}

impl From<tungstenite::Error> for SocketError {
    fn from(error: tungstenite::Error) -> SocketError {
        match error {
            tungstenite::Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let mut refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
                refusal.status = response.status().as_u16();
                SocketError::Refused(Box::new(refusal))
            }
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => SocketError::Lost,
            other => SocketError::Transport(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_the_reconnect_policy() {
        let closed = |code| SocketError::Closed { code, reason: String::new() };
        for code in [1000, 1012, 4000, 4001, 4003, 4499] {
            assert!(closed(code).may_reconnect(), "{code}");
        }
        for code in [4500, 4501, 4502, 4503, 4504, 4999] {
            assert!(!closed(code).may_reconnect(), "{code}");
        }
    }

    #[test]
    fn a_401_is_final() {
        let refused = SocketError::Refused(Box::new(Refusal { status: 401, ..Refusal::default() }));
        assert!(!refused.may_reconnect());
        assert!(SocketError::Lost.may_reconnect());
    }
}
