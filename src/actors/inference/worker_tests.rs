//! Runs at which a worker fails.

use super::{InferenceHandle, Pool};
use crate::actors::simulation::{Ground, House};
use crate::domain::run::reason;
use crate::domain::{
    Ack, AssistantTerms, BaseUrl, Command, Enrolment, MessageBody, Name, Origin, Person, Principal, RoomId,
    RunId, RunState,
};
use crate::inference::ContentFilter;
use crate::inference::filter::{Side, Verdict};
use crate::protocol::TraceId;
use crate::storage::Run;
use actix_rt::Arbiter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Fails at what it is told to fail at.
#[derive(Default)]
struct Fragile {
    failed: AtomicUsize,
}

impl ContentFilter for Fragile {
    fn check(&self, text: &str, _: Side) -> Verdict {
        if text.contains("poison") {
            self.failed.fetch_add(1, Ordering::Relaxed);
            // Without the panic hook: it is meant.
            std::panic::resume_unwind(Box::new("poisoned"));
        }
        Verdict::Pass
    }

    fn undecided(&self, _: &str, _: Side) -> usize {
        0
    }
}

struct Scene {
    house: House,
    thinking: InferenceHandle,
    ada: Person,
    room: RoomId,
}

impl Scene {
    async fn set(house: House, filter: Arc<Fragile>) -> Self {
        let mut config = (*house.config).clone();
        config.ai.workers = 1;
        let (bus, store) = (house.bus.clone(), house.store.clone());
        let arbiter = Arbiter::current();
        let thinking = Pool::start(bus.clone(), store, config.into(), filter, &arbiter).expect("starts");
        // Nobody listens there.
        let base_url = BaseUrl::parse("http://127.0.0.1:9/v1").expect("an address");
        let terms = Box::new(AssistantTerms::new(base_url, "m").expect("a model"));
        let name = Name::parse("name", "Ada").expect("a name");
        let enrolment = Enrolment::OperatorsAssistant { name, terms };
        let made = bus.enrol(enrolment, Origin::SYSTEM, TraceId::random()).await;
        let Ok(Ack::Enrolled { person: ada, .. }) = made else { panic!("{made:?}") };
        // Open to all.
        let room = house.rooms[0];
        Self { house, thinking, ada, room }
    }

    async fn asks(&self, text: &str) -> RunId {
        let body = MessageBody::parse(&format!("@Ada {text}")).expect("a body");
        let command =
            Command::PostMessage { room: self.room, client_message_id: Uuid::new_v4(), body, settings: None };
        let ann = Principal::of_system(self.house.people[0].clone());
        match self.house.bus.submit(ann, command, TraceId::random()).await {
            Ok(Ack::Posted { runs, .. }) => runs[0].outcome.clone().expect("admitted").run,
            other => panic!("{other:?}"),
        }
    }

    async fn sees_the_end(&self, run: RunId) -> Run {
        for _ in 0..3_000 {
            let run = self.house.store.run(self.room, run).await.expect("read").expect("there");
            if !run.state.is_open() {
                return run;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("it doesn't end");
    }
}

/// What fails every time it is worked at is given up after as often as may be tried, and the one worker goes on with what comes next.
///
/// Proves AI-22.
#[test]
fn a_run_at_which_a_worker_fails_is_given_up_and_holds_up_nobody() {
    let lived = Ground::new().run(1, |house| async move {
        let filter = Arc::new(Fragile::default());
        let scene = Scene::set(house, Arc::clone(&filter)).await;
        let poisoned = scene.asks("poison").await;
        let end = scene.sees_the_end(poisoned).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some(reason::DEAD_LETTER)));
        let took = end.ended_at.expect("ended").as_millis() - end.created_at.as_millis();
        let lease = scene.house.config.ai.lease.as_millis();
        assert!(
            u128::try_from(took).expect("later") < lease,
            "nobody had to find out by its lease: {took} ms"
        );
        let attempts = scene.house.config.ai.attempts;
        assert_eq!(end.attempts, i64::from(attempts));
        assert_eq!(filter.failed.load(Ordering::Relaxed), usize::try_from(attempts).expect("few"));

        let next = scene.asks("and now?").await;
        let end = scene.sees_the_end(next).await;
        assert_eq!((end.state, end.reason.as_deref()), (RunState::Failed, Some("connect")));
        assert_eq!((scene.thinking.under_way(), scene.ada.name.as_ref()), (0, "Ada"));
    });
    assert!(lived.is_ok());
}
