//! Behind proxies: whose word on where a request comes from is believed, at both doors.

use super::caller::Caller;
use crate::harness::{Ground, House, PATIENCE, empty, on_both};
use crate::raw::{dial, upgrade};
use loadtest::wire::Credentials;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Slow enough that nothing comes back while a test runs.
const FEW: [&str; 4] = ["--set", "limits.address_requests=6", "--set", "limits.request_window_ms=6000000"];

/// The status of a request with these lines of `X-Forwarded-For`, over REST.
async fn by_rest(url: &str, lines: &[&str]) -> u16 {
    let caller = lines.iter().fold(Caller::nobody(url), |caller, line| caller.with("x-forwarded-for", line));
    caller.get("/setup").await.status
}

/// The status of a handshake with these lines, and the socket.
async fn by_socket(url: &str, credentials: &Credentials, lines: &[&str]) -> (u16, TcpStream) {
    let mut tcp = dial(url).await;
    let lines: String = lines.iter().map(|line| format!("X-Forwarded-For: {line}\r\n")).collect();
    tcp.write_all(format!("{}{lines}\r\n", upgrade(url, credentials)).as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    timeout(PATIENCE, tcp.read_exact(&mut head)).await.expect("in time").expect("answered");
    let status = std::str::from_utf8(&head).ok().and_then(|head| head.rsplit(' ').next()?.parse().ok());
    (status.expect("a status"), tcp)
}

async fn by_nobodys_socket(url: &str, lines: &[&str]) -> u16 {
    by_socket(url, &Credentials::Anonymous, lines).await.0
}

/// Proves LIM-02.
#[tokio::test]
async fn a_trusted_proxy_says_who_asks_at_both_doors() {
    let flags = [&FEW[..], &["--set", "server.trusted_proxies=127.0.0.1, 10.0.0.0/8"]].concat();
    let (server, _dir) = empty(Ground::Sqlite, &flags).await;
    let url = server.url();
    for _ in 0..3 {
        assert_eq!(by_rest(&url, &["192.0.2.1"]).await, 200);
        assert_eq!(by_nobodys_socket(&url, &["192.0.2.1"]).await, 401, "one bucket for both doors");
    }
    for lines in [
        &["192.0.2.1"][..],
        // What the client wrote itself, before what the proxy wrote.
        &["192.0.2.99, 192.0.2.1"],
        &["192.0.2.99", "192.0.2.1"],
        &["127.0.0.1, 192.0.2.1"],
        // By way of another of ours.
        &["192.0.2.99, 192.0.2.1, 10.0.0.1"],
        &["192.0.2.1:4711", "10.0.0.1"],
    ] {
        assert_eq!(by_rest(&url, lines).await, 429, "{lines:?}");
        assert_eq!(by_nobodys_socket(&url, lines).await, 429, "{lines:?}");
    }
    assert_eq!(by_rest(&url, &["192.0.2.2"]).await, 200, "nobody else's business");
    assert_eq!(by_nobodys_socket(&url, &["192.0.2.2"]).await, 401);
    // RFC 7239 and others aren't read, so nobody gets away by them.
    let elsewhere = Caller::nobody(&url).with("x-forwarded-for", "192.0.2.1");
    for (name, value) in [("forwarded", "for=192.0.2.3"), ("x-real-ip", "192.0.2.3")] {
        elsewhere.with(name, value).get("/setup").await.is_problem(429, "rate_limited", None);
    }
}

/// Proves LIM-02.
#[tokio::test]
async fn nobody_elses_word_is_believed() {
    for proxies in [&[][..], &["--set", "server.trusted_proxies=10.0.0.0/8,::1"]] {
        let flags = [&FEW[..], &["--set", "limits.exempt_loopback=false"], proxies].concat();
        let (server, _dir) = empty(Ground::Sqlite, &flags).await;
        let url = server.url();
        for n in 0..3 {
            assert_eq!(by_rest(&url, &[&format!("192.0.2.{n}")]).await, 200);
            assert_eq!(by_nobodys_socket(&url, &[&format!("192.0.2.{n}")]).await, 401);
        }
        for n in 3..6 {
            assert_eq!(by_rest(&url, &[&format!("192.0.2.{n}")]).await, 429, "the peer's bucket is empty");
            assert_eq!(by_nobodys_socket(&url, &[&format!("192.0.2.{n}")]).await, 429);
        }
    }
}

on_both!(
    /// Proves LIM-02.
    sockets_behind_a_proxy_are_counted_by_who_opens_them,
    async |ground| {
        let flags = ["--set", "limits.address_sockets=2", "--set", "server.trusted_proxies=127.0.0.0/8"];
        let house = House::open_with(ground, &flags).await;
        let (url, ann) = (house.url(), house.admin.credentials());
        let (first, _first) = by_socket(&url, &ann, &["192.0.2.1"]).await;
        let (second, _second) = by_socket(&url, &ann, &["192.0.2.1"]).await;
        let (third, _) = by_socket(&url, &ann, &["192.0.2.7, 192.0.2.1"]).await;
        let (other, _other) = by_socket(&url, &ann, &["192.0.2.1, 192.0.2.2"]).await;
        assert_eq!([first, second, third, other], [101, 101, 429, 101]);
    }
);

/// A proxy on the machine itself is no reason to show everybody the metrics, however little it says of itself.
#[tokio::test]
async fn a_proxy_on_this_machine_opens_no_metrics() {
    let read = async |url: &str, headers: &[(&str, &str)]| {
        let caller =
            headers.iter().fold(Caller::nobody(url), |caller, (name, value)| caller.with(name, value));
        caller.sends("GET", "/metrics", None).await.status
    };
    let (server, _dir) = empty(Ground::Sqlite, &[]).await;
    let url = server.url();
    assert_eq!(read(&url, &[]).await, 200);
    assert_eq!(read(&url, &[("host", "localhost")]).await, 200);
    for headers in [
        &[("host", "chat.example.org")][..],
        &[("host", "127.0.0.1.example.org")],
        &[("via", "1.1 proxy")],
        &[("x-forwarded-for", "127.0.0.1")],
        &[("x-forwarded-for", "")],
        &[("forwarded", "for=127.0.0.1")],
        &[("x-real-ip", "127.0.0.1")],
    ] {
        assert_eq!(read(&url, headers).await, 403, "{headers:?}");
    }
    for flags in [&["--set", "server.trusted_proxies=127.0.0.1"][..], &["--public-url", "http://127.0.0.1"]] {
        let (server, _dir) = empty(Ground::Sqlite, flags).await;
        for headers in [&[][..], &[("x-forwarded-for", "127.0.0.1")]] {
            assert_eq!(read(&server.url(), headers).await, 403, "{flags:?} {headers:?}");
        }
    }
}
