//! Close codes: the client's whole reconnect policy. Below 4500 come back and resume, from 4500 on stay away.

/// Why the server ends a connection (PROTOCOL.md section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    Normal,
    GoingAway,
    Protocol,
    UnsupportedData,
    InvalidData,
    TooBig,
    Restart,
    HeartbeatLost,
    SlowConsumer,
    RateLimited,
    Overloaded,
    IdentityChanged,
    Unauthenticated,
    SessionRevoked,
    Forbidden,
    TooManyConnections,
    InvalidPayload,
    UnsupportedProtocol,
}

impl CloseCode {
    /// Every code, the closed set of the protocol.
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::UnsupportedData,
        Self::InvalidData,
        Self::TooBig,
        Self::Restart,
        Self::HeartbeatLost,
        Self::SlowConsumer,
        Self::RateLimited,
        Self::Overloaded,
        Self::IdentityChanged,
        Self::Unauthenticated,
        Self::SessionRevoked,
        Self::Forbidden,
        Self::TooManyConnections,
        Self::InvalidPayload,
        Self::UnsupportedProtocol,
    ];

    /// The number in the close frame (RFC 6455 section 7.4).
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidData => 1007,
            Self::TooBig => 1009,
            Self::Restart => 1012,
            Self::HeartbeatLost => 4000,
            Self::SlowConsumer => 4001,
            Self::RateLimited => 4002,
            Self::Overloaded => 4003,
            Self::IdentityChanged => 4004,
            Self::Unauthenticated => 4500,
            Self::SessionRevoked => 4501,
            Self::Forbidden => 4502,
            Self::TooManyConnections => 4503,
            Self::InvalidPayload => 4504,
            Self::UnsupportedProtocol => 4505,
        }
    }

    /// The reason in the close frame: the code that REST answers from then on, where it is another than the name (AUTH-08).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unauthenticated => "token_expired",
            Self::SessionRevoked => "token_revoked",
            _ => self.name(),
        }
    }

    /// Whether the client isn't to come back by itself.
    pub const fn stays_away(self) -> bool {
        self.code() >= 4500
    }

    /// The name, and the label of the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidData => "invalid_data",
            Self::TooBig => "too_big",
            Self::Restart => "restart",
            Self::HeartbeatLost => "heartbeat_lost",
            Self::SlowConsumer => "slow_consumer",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::IdentityChanged => "identity_changed",
            Self::Unauthenticated => "unauthenticated",
            Self::SessionRevoked => "session_revoked",
            Self::Forbidden => "forbidden",
            Self::TooManyConnections => "too_many_connections",
            Self::InvalidPayload => "invalid_payload",
            Self::UnsupportedProtocol => "unsupported_protocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_are_the_reconnect_policy() {
        for code in CloseCode::ALL.into_iter().filter(|code| code.code() >= 4000) {
            let stays_away = matches!(
                code,
                CloseCode::Unauthenticated
                    | CloseCode::SessionRevoked
                    | CloseCode::Forbidden
                    | CloseCode::TooManyConnections
                    | CloseCode::InvalidPayload
                    | CloseCode::UnsupportedProtocol
            );
            assert_eq!(code.code() >= 4500, stays_away, "{}", code.name());
        }
    }

    #[test]
    fn the_document_lists_every_code() {
        let document = include_str!("../../PROTOCOL.md");
        for code in CloseCode::ALL {
            assert!(document.contains(&code.code().to_string()), "{} is missing", code.code());
        }
    }
}
