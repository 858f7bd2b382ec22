//! What becomes of a socket whose upgrade doesn't come to its end.

use super::*;
use crate::actors::simulation::{Ground, House};
use crate::auth::signing::{Key, Ring};
use crate::domain::{Role, SessionId, Via};
use std::future::{Future, poll_fn};
use std::task::Poll;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// An upgrade of the first of the house, as far as it is known who it is, and the client's end of it.
async fn under_way(house: &House) -> (Upgrade, Stream, TcpStream, Identity, Entry) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let far = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
    let near = listener.accept().await.expect("accepts").0;
    let entry = entry::enter(&house.bus, &house.config, None).await.expect("lets in");
    let via = Via::Session(SessionId::new(1));
    let person = house.people[0].clone();
    let identity = Identity { person, via, address: None, renewed: false, expires_at: None, ends_at: None };
    let current = Key::new(&"k".repeat(32)).expect("long enough");
    let keys = Keys::new(Ring { current, retired: Vec::new() });
    let (bus, board) = (house.bus.clone(), Rc::clone(&house.boards[0]));
    let upgrade = Upgrade { bus, board, config: Arc::clone(&house.config), keys };
    (upgrade, Framed::new(near, h1::Codec::default()), far, identity, entry)
}

/// The socket is in its hub's books while its `welcome` is read; an upgrade that is let go then takes it along.
#[test]
fn an_upgrade_that_is_let_go_leaves_no_socket() {
    let lived = Ground::new().run(1, |house| async move {
        let (upgrade, stream, mut far, identity, entry) = under_way(&house).await;
        let (bus, board) = (house.bus.clone(), Rc::clone(&house.boards[0]));
        let trace = TraceId::random();
        let mut taken = Box::pin(upgrade.take_over(stream, identity, entry, trace, Instant::now()));
        let pending = poll_fn(|context| Poll::Ready(taken.as_mut().poll(context).is_pending())).await;
        assert!(pending, "the welcome takes its time");
        assert_eq!((board.borrow().sizes().0, bus.sockets().count(), bus.sockets().users()), (1, 1, 1));
        drop(taken);
        assert_eq!((board.borrow().sizes().0, bus.sockets().count(), bus.sockets().users()), (0, 0, 0));
        let end = far.read_to_end(&mut Vec::new()).await;
        assert!(matches!(end, Ok(0)) || end.is_err(), "it is cut: {end:?}");
    });
    assert!(lived.is_ok());
}

/// What ended a right while its handshake was under way closes the socket as it closes those that are open.
///
/// Proves AUTH-15.
#[test]
fn a_handshake_that_is_overtaken_is_closed_for_what_overtook_it() {
    let lived = Ground::new().run(1, |house| async move {
        let person = house.people[0].clone();
        let (session, user) = (Ended::Session(SessionId::new(1)), Ended::User(person.id));
        for (endings, closed) in [
            (vec![(session, CloseCode::SessionRevoked)], CloseCode::SessionRevoked),
            (vec![(user, CloseCode::Forbidden)], CloseCode::Forbidden),
            (vec![(session, CloseCode::SessionRevoked), (user, CloseCode::Forbidden)], CloseCode::Forbidden),
            (vec![(user, CloseCode::IdentityChanged)], CloseCode::IdentityChanged),
            (
                vec![(Ended::Role(person.id, Role::Guest), CloseCode::IdentityChanged)],
                CloseCode::IdentityChanged,
            ),
        ] {
            let (upgrade, stream, mut far, identity, entry) = under_way(&house).await;
            let began = Instant::now();
            for (which, code) in &endings {
                house.bus.end_sessions(*which, *code);
            }
            upgrade.take_over(stream, identity, entry, TraceId::random(), began).await;
            let mut got = Vec::new();
            let goodbye = closed.code().to_be_bytes();
            while !got.windows(2).any(|bytes| bytes == goodbye) {
                let read = far.read_buf(&mut got).await.expect("reads");
                assert!(read > 0, "{endings:?}: {}", String::from_utf8_lossy(&got));
            }
            assert!(
                got.ends_with(closed.reason().as_bytes()),
                "{endings:?}: {}",
                String::from_utf8_lossy(&got)
            );
            // What comes later is judged by what is so then.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(lived.is_ok());
}
