//! Why a REST call did not work: refused by the server, lost on the way, or answered in another shape.

use crate::wire::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem.
    #[error("refused: {0}")]
    Refused(Box<Refusal>),
    /// No answer; whether the command was stored is unknown.
    #[error("no answer: {0}")]
    Transport(#[from] reqwest::Error),
    /// An answer the protocol does not allow.
    #[error("{0}")]
    Shape(String),
}

impl ClientError {
    pub(crate) fn refused(status: u16, body: &[u8]) -> ClientError {
        let mut refusal: Refusal = serde_json::from_slice(body).unwrap_or_else(|_| Refusal {
            message: String::from_utf8_lossy(body).chars().take(200).collect(),
            ..Refusal::default()
        });
        refusal.status = status;
        // A server that stood still finds the time for a request over when it goes on: RFC 9110 section 15.5.9 lets it be repeated.
        refusal.retryable |= status == 408;
        ClientError::Refused(Box::new(refusal))
    }

    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Refused(refusal) => Some(refusal),
            ClientError::Transport(_) | ClientError::Shape(_) => None,
        }
    }

    /// The problem's `code`; empty when there was no answer.
    pub fn code(&self) -> &str {
        self.refusal().map_or("", |refusal| refusal.code.as_str())
    }

    /// HTTP status, when the server answered.
    pub fn status(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_code_and_status() {
        let error =
            ClientError::refused(404, br#"{"title":"Not Found","code":"not_found","detail":"no such room"}"#);
        assert_eq!((error.status(), error.code()), (Some(404), "not_found"));
        assert_eq!(error.refusal().unwrap().message, "no such room");
    }

    #[test]
    fn an_answer_that_is_no_problem_has_no_code() {
        let error = ClientError::refused(502, b"<html>Bad Gateway");
        assert_eq!((error.status(), error.code()), (Some(502), ""));
        assert!(ClientError::refused(408, b"").refusal().unwrap().retryable, "but may be repeated");
    }
}
