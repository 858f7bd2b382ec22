//! What a trial will do, all of it drawn before it starts, so that it can be saved, replayed and made smaller.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fault::Fault;
use super::options::Options;

/// The whole plan. Devices, rooms and users are named by their index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub options: Options,
    /// The rooms that are there from the beginning; those that are made on the way come behind them.
    pub rooms: Vec<PlannedRoom>,
    /// How many rooms may be made on the way.
    pub slots: usize,
    /// Bots among the users.
    pub bots: Vec<usize>,
    pub users: usize,
    pub devices: Vec<PlannedDevice>,
    /// In the order of their moments.
    pub faults: Vec<PlannedFault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRoom {
    pub closed: bool,
    /// Users in a closed room, beside the admin who makes it.
    pub members: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// How many steps have to be done before.
    pub at: usize,
    pub fault: Fault,
}

/// How a device sends its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Socket,
    Rest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDevice {
    pub user: usize,
    pub door: Door,
    /// Does it subscribe to its rooms?
    pub listens: bool,
    /// Has it a small receive buffer, so that a pause in reading is felt by the server?
    pub narrow: bool,
    /// It drops its connection after about so many events; 0: only where a step says so.
    pub drop_after: usize,
    /// For its moods: where it resumes, when it drops.
    pub mood: u64,
    pub steps: Vec<Step>,
}

/// One action after a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub pause_ms: u64,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPost {
    pub id: Uuid,
    pub room: usize,
    pub body: String,
}

/// `pick` chooses among the user's own acked messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Posts sent together.
    Post(Vec<PlannedPost>),
    /// The same post with the same id once more.
    Again {
        pick: usize,
    },
    /// The same id with another body.
    Reuse {
        pick: usize,
    },
    Edit {
        pick: usize,
        body: String,
    },
    Delete {
        pick: usize,
    },
    /// An admin's doing.
    Add {
        room: usize,
        user: usize,
    },
    /// An admin's doing.
    Remove {
        room: usize,
        user: usize,
    },
    Leave {
        room: usize,
    },
    Create {
        room: usize,
        name: String,
    },
    Rename {
        room: usize,
        name: String,
    },
    DeleteRoom {
        room: usize,
    },
    /// Marks as read so much of what was heard.
    Mark {
        room: usize,
        percent: u64,
    },
    Typing {
        room: usize,
        on: bool,
    },
    /// Drops the connection, rudely or not, and stays away.
    Leap {
        rude: bool,
        away_ms: u64,
    },
    /// Reads nothing for a while.
    Stall {
        ms: u64,
    },
}

impl Plan {
    /// How far the run will count, if every step is taken.
    pub fn weight(&self) -> usize {
        self.devices.iter().flat_map(|device| &device.steps).map(|step| step.action.weight()).sum()
    }

    pub fn posts(&self) -> usize {
        let steps = self.devices.iter().flat_map(|device| &device.steps);
        steps.map(|step| if let Action::Post(posts) = &step.action { posts.len() } else { 0 }).sum()
    }
}

impl Action {
    /// What it counts in the progress of the run.
    pub fn weight(&self) -> usize {
        match self {
            Action::Post(posts) => posts.len(),
            _ => 1,
        }
    }
}
