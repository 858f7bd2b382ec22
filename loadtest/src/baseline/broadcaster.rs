//! The loop: accept, read who posts, write to who listens.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::member::Member;
use super::wire::{Event, Hello, READY};
use super::{Mode, Options};

const LISTENER: Token = Token(usize::MAX);
const END: Token = Token(usize::MAX - 1);
/// Rooms at most; the hello names them by their number.
const ROOMS: usize = 100_000;
const SCRATCH: usize = 64 * 1024;
const EVENTS: usize = 4096;

struct Room {
    event: Event,
    listeners: Vec<usize>,
    /// Frames of this turn that are written at its end.
    pending: Vec<u8>,
}

struct Broadcaster {
    options: Options,
    poll: Poll,
    listener: TcpListener,
    members: Vec<Option<Member>>,
    free: Vec<usize>,
    rooms: BTreeMap<usize, Room>,
    /// Rooms with something pending.
    dirty: Vec<usize>,
    /// Connections that ended in this turn.
    gone: Vec<usize>,
}

/// Serves until `input` ends. Its first line has the [`Options`]; `out` is told the address.
pub fn serve(mut input: impl BufRead + Send + 'static, out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let options: Options = serde_json::from_str(&line)?;
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let waker = Waker::new(poll.registry(), END)?;
    thread::spawn(move || {
        // An error is an end, too.
        drop(input.read_to_end(&mut Vec::new()));
        drop(waker.wake());
    });
    writeln!(out, "\nlistening {}", listener.local_addr()?)?;
    out.flush()?;
    let mut broadcaster = Broadcaster {
        options,
        poll,
        listener,
        members: Vec::new(),
        free: Vec::new(),
        rooms: BTreeMap::new(),
        dirty: Vec::new(),
        gone: Vec::new(),
    };
    broadcaster.run()
}

impl Broadcaster {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut scratch = vec![0; SCRATCH];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    END => return Ok(()),
                    Token(at) => self.turn(at, event.is_readable(), event.is_writable(), &mut scratch),
                }
            }
            self.write_pending();
            while let Some(at) = self.gone.pop() {
                self.leave(at);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or(self.members.len());
            self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
            let member = Some(Member::new(stream));
            match self.members.get_mut(at) {
                Some(place) => *place = member,
                None => self.members.push(member),
            }
        }
    }

    fn turn(&mut self, at: usize, readable: bool, writable: bool, scratch: &mut [u8]) {
        // Taken out for as long as it speaks: it may be among those who listen.
        let Some(mut member) = self.members.get_mut(at).and_then(Option::take) else { return };
        let mut alive = !writable || member.flush();
        if readable && alive {
            let mut hello = member.hello;
            let mut posts = 0;
            let mut said = Vec::new();
            alive = member.read(scratch, |payload| match hello {
                None => hello = Hello::parse(payload).filter(|hello| hello.room < ROOMS),
                Some(_) => {
                    said.extend(payload.get(..super::TAG).unwrap_or_default());
                    posts += 1;
                }
            });
            if let (None, Some(hello)) = (member.hello, hello) {
                member.hello = Some(hello);
                self.join(at, hello);
                alive &= member.write(READY);
            }
            if let Some(place) = self.members.get_mut(at) {
                *place = Some(member);
            }
            if let (Some(hello), true) = (hello, posts > 0) {
                said.chunks_exact(super::TAG).for_each(|tag| self.post(hello.room, tag));
            }
        } else if let Some(place) = self.members.get_mut(at) {
            *place = Some(member);
        }
        if !alive {
            self.gone.push(at);
        }
    }

    fn join(&mut self, at: usize, hello: Hello) {
        let frame_bytes = self.options.frame_bytes;
        let room = self.rooms.entry(hello.room).or_insert_with(|| Room {
            event: Event::new(frame_bytes),
            listeners: Vec::new(),
            pending: Vec::new(),
        });
        if hello.listens {
            room.listeners.push(at);
        }
    }

    fn post(&mut self, number: usize, tag: &[u8]) {
        let Some(room) = self.rooms.get_mut(&number) else { return };
        let frame = room.event.next(tag);
        match self.options.mode {
            Mode::Plain => write(frame, &room.listeners, &mut self.members, &mut self.gone),
            Mode::Coalescing => {
                if room.pending.is_empty() {
                    self.dirty.push(number);
                }
                room.pending.extend(frame);
            }
        }
    }

    fn write_pending(&mut self) {
        while let Some(number) = self.dirty.pop() {
            let Some(room) = self.rooms.get_mut(&number) else { continue };
            write(&room.pending, &room.listeners, &mut self.members, &mut self.gone);
            room.pending.clear();
        }
    }

    fn leave(&mut self, at: usize) {
        let Some(mut member) = self.members.get_mut(at).and_then(Option::take) else { return };
        // Closing it takes it out of the poll all the same.
        drop(self.poll.registry().deregister(member.stream()));
        if let Some(room) = member.hello.and_then(|hello| self.rooms.get_mut(&hello.room)) {
            room.listeners.retain(|listener| *listener != at);
        }
        self.free.push(at);
    }
}

fn write(frame: &[u8], listeners: &[usize], members: &mut [Option<Member>], gone: &mut Vec<usize>) {
    for at in listeners {
        let member = members.get_mut(*at).and_then(Option::as_mut);
        if member.is_some_and(|member| !member.write(frame)) {
            gone.push(*at);
        }
    }
}
