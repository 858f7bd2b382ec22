//! The line between a browser and the server: it can be cut, and it can lose what comes back.

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// Nothing goes through, and who tries is hung up on.
    Cut,
    /// WebSockets carry what the browser says and lose what the server answers; other requests are answered.
    Deaf,
}

/// A line of its own for one browser.
pub(crate) struct Line {
    state: Arc<watch::Sender<State>>,
    port: u16,
}

impl Line {
    /// Leads to the server on `port`.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("an address").port();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let seen = state.subscribe();
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(carry(browser, port, seen.clone()));
            }
        });
        Self { state, port: here }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn is(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Carries one connection's bytes both ways until either side ends or the line is cut.
async fn carry(browser: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_browser, mut to_browser) = browser.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (is_socket, socket_seen) = watch::channel(false);
    let seen = state.clone();
    let up = async {
        let mut bytes = vec![0; 16_384];
        while let Ok(count @ 1..) = from_browser.read(&mut bytes).await {
            if bytes[..count].starts_with(b"GET /ws ") {
                is_socket.send_replace(true);
            }
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 16_384];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let is_lost = *socket_seen.borrow() && *seen.borrow() == State::Deaf;
            if !is_lost && to_browser.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
        // A deaf browser doesn't hear that the server hung up, either.
        if *socket_seen.borrow() && *seen.borrow() == State::Deaf {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}
