//! Who is let in: so many sockets of the process, of a user, of an address, and so many handshakes at a time.

use crate::harness::{Ground, House, PATIENCE, on_both};
use crate::overload::becomes;
use crate::raw::{Raw, dial, upgrade};
use loadtest::wire::Credentials;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The answer to a handshake that isn't let in: its head, lower case.
pub(super) async fn answer(url: &str, credentials: &Credentials) -> String {
    let mut tcp = dial(url).await;
    tcp.write_all(format!("{}\r\n", upgrade(url, credentials)).as_bytes()).await.expect("sent");
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(PATIENCE, tcp.read(&mut buffer)).await.expect("in time").expect("reads");
        assert!(read > 0, "no answer");
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&text).to_lowercase()
}

/// The status of such an answer, and how many seconds it says to wait.
pub(super) fn sent_away(head: &str) -> (u16, u64) {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let wait = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    (status, wait.unwrap_or_else(|| panic!("no retry-after: {head}")).trim().parse().expect("seconds"))
}

on_both!(
    /// Proves CONN-21.
    a_full_instance_sends_newcomers_away_and_keeps_those_it_has,
    async |ground| {
        let house = House::open_with(ground, &["--set", "socket.per_instance=2"]).await;
        let bob = house.joined_by("Bob").await;
        let mut ann = house.admin.listens_to(house.lobby).await;
        let mut first = bob.listens_to(house.lobby).await;
        for _ in 0..5 {
            let (status, wait) = sent_away(&answer(&house.url(), &bob.credentials()).await);
            assert_eq!(status, 503, "before the upgrade");
            assert!((1..=7).contains(&wait), "{wait}");
        }
        ann.posts(house.lobby, "still here").await;
        assert_eq!(first.hears_message().await, "still here");
        assert_eq!(ann.hears_message().await, "still here");
        assert!(house.metric("hearth_connections_total", "overloaded").await >= 5.0);
        first.socket.close().await.expect("closes");
        house.metric_becomes("hearth_connections", "", 1.0).await;
        becomes("a free place", async || bob.tries_to_connect().await.is_ok()).await;
    }
);

/// Proves CONN-21.
#[tokio::test]
async fn an_address_has_so_many_sockets_and_no_more() {
    let flags = ["--set", "limits.address_sockets=2", "--set", "limits.exempt_loopback=false"];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    let other = house.admin.connects().await;
    let (status, wait) = sent_away(&answer(&house.url(), &house.admin.credentials()).await);
    assert_eq!(status, 429);
    assert!((1..=7).contains(&wait), "{wait}");
    ann.posts(house.lobby, "still here").await;
    assert_eq!(ann.hears_message().await, "still here");
    other.socket.abort();
    becomes("a free place", async || house.admin.tries_to_connect().await.is_ok()).await;
}

/// A storm of handshakes is answered before anything is read, each with a wait of its own; those there are don't notice.
///
/// Proves CONN-21.
#[tokio::test]
async fn a_storm_of_handshakes_is_spread() {
    let flags = [
        "--set",
        "limits.handshakes=1",
        "--set",
        "limits.handshake_burst=3",
        "--set",
        "limits.retry_spread_ms=60000",
    ];
    let house = House::open_with(Ground::Sqlite, &flags).await;
    let mut ann = house.admin.listens_to(house.lobby).await;
    let mut waits = Vec::new();
    // Nobody is asked who they are: the wrong credentials are as good as the right ones.
    let nobody = Credentials::Cookie("hearth_session=wrong".to_owned());
    let url = house.url();
    let storm = (0..40).map(|_| answer(&url, &nobody));
    for head in futures_util::future::join_all(storm).await {
        if head.starts_with("http/1.1 401") {
            continue;
        }
        let (status, wait) = sent_away(&head);
        assert_eq!(status, 503, "{head}");
        waits.push(wait);
    }
    assert!(waits.len() > 20, "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 5, "they don't come back together: {waits:?}");
    ann.posts(house.lobby, "still here").await;
    assert_eq!(ann.hears_message().await, "still here");
    becomes("a handshake's turn", async || house.admin.tries_to_connect().await.is_ok()).await;
}

on_both!(
    /// With one reading slot for all of them, a storm within the rate is served one after the other and nobody is refused.
    ///
    /// Proves CONN-21.
    a_storm_within_the_rate_waits_its_turn,
    async |ground| {
        let flags = [
            "--set", "limits.handshakes_at_once=1", "--set", "storage.readers=1", "--set", "storage.read_queue=2",
            "--set", "socket.per_user=100",
        ];
        let house = House::open_with(ground, &flags).await;
        let storm = (0..60).map(|_| Raw::connect_to(&house));
        let sockets = futures_util::future::join_all(storm).await;
        house.metric_becomes("hearth_connections", "", 60.0).await;
        drop(sockets);
        house.metric_becomes("hearth_connections", "", 0.0).await;
    }
);

impl Raw {
    async fn connect_to(house: &House) -> Self {
        let patience = Duration::from_secs(60);
        timeout(patience, Self::connect(&house.url(), &house.admin.credentials()))
            .await
            .expect("has its turn")
    }
}
