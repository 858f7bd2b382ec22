//! What becomes of a socket whose upgrade doesn't come to its end.

use super::*;
use crate::actors::simulation::Ground;
use crate::auth::signing::{Key, Ring};
use crate::domain::{SessionId, Via};
use std::future::{Future, poll_fn};
use std::task::Poll;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// The socket is in its hub's books while its `welcome` is read; an upgrade that is let go then takes it along.
#[test]
fn an_upgrade_that_is_let_go_leaves_no_socket() {
    let lived = Ground::new().run(1, |house| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let mut far = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let near = listener.accept().await.expect("accepts").0;
        let (bus, board) = (house.bus.clone(), Rc::clone(&house.boards[0]));
        let entry = entry::enter(&bus, &house.config, None).await.expect("lets in");
        let via = Via::Session(SessionId::new(1));
        let person = house.people[0].clone();
        let identity =
            Identity { person, via, address: None, renewed: false, expires_at: None, ends_at: None };
        let current = Key::new(&"k".repeat(32)).expect("long enough");
        let keys = Keys::new(Ring { current, retired: Vec::new() });
        let upgrade =
            Upgrade { bus: bus.clone(), board: Rc::clone(&board), config: Arc::clone(&house.config), keys };
        let stream = Framed::new(near, h1::Codec::default());
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
