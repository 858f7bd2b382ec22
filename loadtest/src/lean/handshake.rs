//! Opens a lean socket: TCP from a chosen loopback address, the upgrade, nothing kept of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::upgrade;
use crate::wire::Credentials;

/// One source address has about 28,000 ports on a default Linux.
const PER_SOURCE: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Door {
    pub server: SocketAddr,
    pub credentials: Credentials,
}

/// The text of the upgrade, for those who do something else with it.
pub fn request(door: &Door) -> String {
    upgrade::request(&door.server.to_string(), &door.credentials)
}

/// Connects the `index`th socket; above 20,000 they come from several source addresses. Returns the stream and
/// what the server sent behind the upgrade's answer.
pub async fn connect(door: &Door, index: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    match timeout(PATIENCE, upgraded(door, index)).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the upgrade in time")),
    }
}

/// The same without an upgrade, to who needs none.
pub async fn connect_bare(server: SocketAddr, index: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    Ok((connected(server, index).await?, Vec::new()))
}

async fn connected(server: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source(server.ip(), index) {
        socket.bind(source)?;
    }
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn upgraded(door: &Door, index: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = connected(door.server, index).await?;
    stream.write_all(upgrade::request(&door.server.to_string(), &door.credentials).as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the upgrade"));
        }
        if let Some(rest) = upgrade::accepted(&answer)? {
            let rest = rest.to_vec();
            return Ok((stream, rest));
        }
    }
}

/// The first 20,000 leave the choice to the kernel.
fn source(server: IpAddr, index: usize) -> Option<SocketAddr> {
    let nth = u8::try_from(index / PER_SOURCE).ok().filter(|nth| *nth > 0)?;
    server.is_loopback().then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 0, nth.saturating_add(1)), 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_come_from_many_addresses() {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(source(here, 19_999), None);
        assert_eq!(source(here, 20_000).unwrap().to_string(), "127.0.0.2:0");
        assert_eq!(source(here, 45_000).unwrap().to_string(), "127.0.0.3:0");
        assert_eq!(source(IpAddr::from([10, 0, 0, 1]), 45_000), None);
    }
}
