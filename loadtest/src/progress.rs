//! What a long run says meanwhile, on standard error or not at all.

use std::fmt;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often a long part says how far it is.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    since: Option<Instant>,
}

impl Progress {
    /// Lines on standard error, with the seconds since now.
    pub fn stderr() -> Progress {
        Progress { since: Some(Instant::now()) }
    }

    pub fn silent() -> Progress {
        Progress { since: None }
    }

    pub fn say(&self, what: impl fmt::Display) {
        if let Some(since) = self.since {
            // A closed standard error must not end a run.
            drop(writeln!(std::io::stderr(), "{:8.2} s  {what}", since.elapsed().as_secs_f64()));
        }
    }

    /// Says every few seconds how far it is, until the answer is dropped. Has to be called inside a `LocalSet`.
    pub fn follow<T: 'static>(self, what: &Rc<T>, how_far: impl Fn(&T) -> String + 'static) -> Following {
        let what = Rc::clone(what);
        Following(tokio::task::spawn_local(async move {
            loop {
                sleep(EVERY).await;
                self.say(how_far(&what));
            }
        }))
    }
}

/// Something that is being followed.
pub struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
