//! How many entries each registry holds: all of them are empty when nobody is here (CONN-17, CONN-18).

use super::bus::Bus;
use super::hub::HubMsg;
use std::time::Duration;
use tokio::sync::oneshot;

/// A hub that takes longer to count is left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one hub keeps for its sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubCounts {
    pub peers: usize,
    pub audiences: usize,
    pub places: usize,
    pub followers: usize,
    pub badges_waiting: usize,
    pub joins_pending: usize,
}

/// Every registry by name, and how many entries it has.
pub type Counts = [(&'static str, usize); 13];

impl Bus {
    /// Counts now; each hub counts in its own turn.
    pub async fn registries(&self) -> Counts {
        let mut sum = HubCounts::default();
        let answers: Vec<oneshot::Receiver<HubCounts>> = self
            .rooms()
            .hubs()
            .iter()
            .map(|hub| {
                let (ask, answer) = oneshot::channel();
                hub.tell(HubMsg::Count(ask));
                answer
            })
            .collect();
        for answer in answers {
            if let Ok(Ok(hub)) = tokio::time::timeout(PATIENCE, answer).await {
                sum.peers += hub.peers;
                sum.audiences += hub.audiences;
                sum.places += hub.places;
                sum.followers += hub.followers;
                sum.badges_waiting += hub.badges_waiting;
                sum.joins_pending += hub.joins_pending;
            }
        }
        let rooms = self.rooms().counts();
        [
            ("sockets", self.sockets().count()),
            ("users", self.sockets().users()),
            ("peers", sum.peers),
            ("audiences", sum.audiences),
            ("places", sum.places),
            ("followers", sum.followers),
            ("badges_waiting", sum.badges_waiting),
            ("joins_pending", sum.joins_pending),
            ("rooms", self.rooms().len()),
            ("listeners", rooms.listeners),
            ("typing", rooms.typing),
            ("presence", self.rooms().presence().tracked()),
            ("actions", self.actions().pending()),
        ]
    }
}
