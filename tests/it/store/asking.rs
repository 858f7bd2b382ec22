//! Asking assistants: what is refused and how, what is the same question, and what asks nobody.

use super::bench::{Bench, Home, NOW, accepted, by, code, enrols, kinds, name, post, refused};
use super::contracts;
use hearth::domain::{
    Ack, AssistantChange, AssistantTerms, BaseUrl, Budget, Command, Enrolment, MessageId, NewRoomKind,
    Person, Prices, Rejection, RejectionCode, Role, RoomId, RunEnd, RunId, RunState, Scope, Started,
    Summoned, Timestamp, Usage, UserId, WebhookUrl,
};
use hearth::storage::{HistoryPage, RunTerms, Task};
use std::time::Duration;
use uuid::Uuid;

contracts!(
    each_refusal_has_its_code_and_leaves_nothing,
    queues_are_bounded,
    who_is_mentioned_is_asked,
    what_was_asked_in_vain_is_asked_again,
    a_question_is_asked_once,
    an_answer_is_asked_for_again_once,
    chains_of_programs_end,
    what_programs_ask_in_a_row_has_an_end,
    those_who_are_gone_are_not_asked,
);

/// A store with Ann (the admin), Bob (a member), and the assistant Ada, in the first room.
pub(super) struct Scene {
    pub(super) bench: Bench,
    pub(super) ann: Person,
    pub(super) bob: Person,
    pub(super) ada: Person,
    pub(super) room: RoomId,
}

/// What an answer of Ada's sets aside: 800 tokens of prompt at 1, 200 of answer at 2 micro-dollars.
pub(super) const TOKENS: i64 = 1000;
pub(super) const MICROS: i64 = 1200;

pub(super) fn terms() -> AssistantTerms {
    let url = BaseUrl::parse("http://127.0.0.1:9/v1").unwrap();
    AssistantTerms {
        context_tokens: TOKENS,
        output_tokens: 200,
        prices: Prices { prompt: 1_000_000, completion: 2_000_000 },
        ..AssistantTerms::new(url, "tiny").unwrap()
    }
}

impl Scene {
    pub(super) async fn set(bench: Bench) -> Self {
        let Home { admin: ann, general: room } = bench.home().await;
        let bob = bench.person("Bob", Role::Member).await;
        let ada = new_assistant(&bench, &ann, "Ada").await;
        Self { bench, ann, bob, ada, room }
    }

    pub(super) fn ask(&self, message: MessageId) -> Command {
        ask(self.room, self.ada.id, message)
    }

    /// Somebody says something and asks Ada about it.
    pub(super) async fn asks(&self, who: &Person) -> Started {
        let message = self.bench.posts(who, self.room, "what?").await.id;
        self.started(who, self.ask(message)).await
    }

    /// A question that is admitted.
    pub(super) async fn started(&self, who: &Person, command: Command) -> Started {
        match self.bench.does(who, command).await.0 {
            Ack::Asked(started) => started,
            ack => panic!("{ack:?}"),
        }
    }

    /// A question that isn't.
    pub(super) async fn refused(&self, who: &Person) -> Rejection {
        let message = self.bench.posts(who, self.room, "what?").await.id;
        self.bench.refuses(who, self.ask(message)).await
    }

    pub(super) async fn takes(&self, run: RunId, holder: Uuid) -> Option<Task> {
        let lease = NOW.after(Duration::from_secs(30));
        self.bench.store.take_run(run, holder, NOW, lease).await.unwrap().map(|task| task.expect("sound"))
    }

    pub(super) fn end(&self, run: RunId, holder: Uuid, state: RunState, text: &str) -> Command {
        let reason = (state != RunState::Done).then_some("cancelled");
        let usage = Usage { prompt: 100, completion: 10, estimated: false };
        let end = RunEnd { state, text: text.into(), reason, truncated: false, usage, first_token_at: None };
        Command::EndRun { room: self.room, run, holder, end }
    }

    pub(super) async fn state(&self, run: RunId) -> RunState {
        self.bench.store.run(self.room, run).await.unwrap().expect("a run").state
    }

    pub(super) async fn changes(&self, change: AssistantChange) {
        let (assistant, change) = (self.ada.id, Box::new(change));
        self.bench.does(&self.ann, Command::UpdateAssistant { assistant, name: None, change }).await;
    }

    pub(super) async fn budgets(&self, scope: Scope, tokens: Option<i64>, micros: Option<i64>) {
        let budget = Budget { tokens, micros };
        self.bench.does(&self.ann, Command::SetBudget { scope, budget }).await;
    }

    /// A room of its own with these.
    pub(super) async fn closed(&self, members: &[UserId]) -> RoomId {
        self.bench.creates(&self.ann, NewRoomKind::Closed, Some("Den"), members).await.id
    }
}

pub(super) async fn new_assistant(bench: &Bench, ann: &Person, who: &str) -> Person {
    let terms = Box::new(terms());
    bench.enrolled(Enrolment::Assistant { by: ann.clone(), name: name(who), terms }).await
}

pub(super) fn ask(room: RoomId, assistant: UserId, message: MessageId) -> Command {
    Command::AskAssistant { room, assistant, message, regenerates: None, settings: None }
}

fn again(room: RoomId, assistant: UserId, message: MessageId, after: RunId) -> Command {
    Command::AskAssistant { room, assistant, message, regenerates: Some(after), settings: None }
}

fn said(ack: Ack) -> (MessageId, Vec<Summoned>) {
    match ack {
        Ack::Posted { position, runs, .. } => (MessageId::new(position.id.get()), runs),
        ack => panic!("{ack:?}"),
    }
}

/// Proves AI-06, AI-12, AI-15.
async fn each_refusal_has_its_code_and_leaves_nothing(bench: Bench) {
    let Scene { bench, ann, bob, ada, room } = Scene::set(bench).await;
    let scene = Scene { bench, ann, bob, ada, room };
    let (store, bench) = (&scene.bench.store, &scene.bench);
    let nothing = || {
        assert_eq!(bench.count("SELECT count(*) FROM runs"), 0);
        assert_eq!(bench.count("SELECT count(*) FROM spending"), 0);
    };
    let here = bench.posts(&scene.bob, room, "here").await.id;
    let den = scene.closed(&[scene.bob.id]).await;
    let there = bench.posts(&scene.bob, den, "there").await.id;
    let gone = bench.posts(&scene.bob, room, "gone").await.id;
    bench.does(&scene.bob, Command::DeleteMessage { room, message: gone }).await;
    let assistant = scene.ada.id;
    for wrong in [
        ask(room, UserId::new(999), here),
        ask(room, scene.ann.id, here),
        ask(room, assistant, there),
        ask(room, assistant, gone),
        // Ada isn't in it.
        ask(den, assistant, there),
        ask(RoomId::new(999), assistant, here),
    ] {
        let rejection = bench.refuses(&scene.bob, wrong.clone()).await;
        assert_eq!(rejection.code, RejectionCode::NotFound, "{wrong:?}");
    }
    let stranger = bench.person("Guy", Role::Guest).await;
    assert_eq!(bench.refuses(&stranger, scene.ask(here)).await.code, RejectionCode::NotFound);

    scene.changes(AssistantChange { enabled: Some(false), ..AssistantChange::default() }).await;
    let off = scene.refused(&scene.bob).await;
    assert_eq!((off.code, off.retry_after), (RejectionCode::AiUnavailable, None));
    scene.changes(AssistantChange { enabled: Some(true), ..AssistantChange::default() }).await;

    let pause = async |model: &str, url: &str, secs| {
        let (until, url) = (NOW.after(Duration::from_secs(secs)), BaseUrl::parse(url).unwrap());
        store.pause_assistant(assistant, url, model.to_owned(), Some(until)).await.unwrap();
    };
    // What it had before failed.
    pause("small", "http://127.0.0.1:9/v1", 60).await;
    pause("tiny", "http://127.0.0.1:10/v1", 60).await;
    assert_eq!(store.assistant(assistant).await.unwrap().unwrap().paused_until, None);
    pause("tiny", "http://127.0.0.1:9/v1", 30).await;
    let paused = scene.refused(&scene.bob).await;
    let wait = Some(Duration::from_secs(30));
    assert_eq!((paused.code, paused.retry_after), (RejectionCode::AiUnavailable, wait));
    // Another engine hasn't failed.
    scene.changes(AssistantChange { model: Some("other".into()), ..AssistantChange::default() }).await;
    assert_eq!(store.assistant(assistant).await.unwrap().unwrap().paused_until, None);

    let Command::AskAssistant { message, .. } = scene.ask(here) else { panic!("a question") };
    let stale = Command::AskAssistant { room, assistant, message, regenerates: None, settings: Some(5) };
    let conflict = bench.refuses(&scene.bob, stale).await;
    assert_eq!((conflict.code, conflict.version), (RejectionCode::SettingsConflict, Some(0)));

    scene.budgets(Scope::Account, Some(TOKENS - 1), None).await;
    assert_eq!(scene.refused(&scene.bob).await.code, RejectionCode::BudgetExceeded);
    scene.budgets(Scope::Account, None, Some(MICROS - 1)).await;
    assert_eq!(scene.refused(&scene.bob).await.code, RejectionCode::BudgetExceeded);
    scene.budgets(Scope::Account, None, None).await;
    nothing();

    let first = scene.started(&scene.bob, scene.ask(here)).await;
    let busy = scene.refused(&scene.bob).await;
    assert_eq!((busy.code, busy.run), (RejectionCode::AiBusy, Some(first.run)));
    // Another conversation.
    scene.asks(&scene.ann).await;
    // What it says itself isn't asked about.
    let wrong = bench.refuses(&scene.ann, ask(room, assistant, first.message)).await;
    assert_eq!((wrong.code, wrong.field.as_deref()), (RejectionCode::InvalidPayload, Some("message_id")));
    assert_eq!(bench.count("SELECT count(*) FROM runs"), 2);
}

/// Proves AI-02.
async fn queues_are_bounded(mut bench: Bench) {
    bench.options.runs = RunTerms { queue: 3, room_queue: 2, user_queue: 2, ..RunTerms::DEFAULT };
    let scene = Scene::set(bench.reopened().await).await;
    let (bench, bob, eve) = (&scene.bench, &scene.bob, scene.bench.person("Eve", Role::Member).await);
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(scene.closed(&[bob.id, eve.id, scene.ada.id]).await);
    }
    let asks = async |who: &Person, room: RoomId| {
        let message = bench.posts(who, room, "what?").await.id;
        bench.one(by(who, ask(room, scene.ada.id, message))).await
    };
    let full = async |who: &Person, room: RoomId| {
        let rejection = refused(asks(who, room).await);
        assert_eq!(rejection.code, RejectionCode::AiQueueFull);
        assert_eq!(rejection.retry_after, Some(RunTerms::DEFAULT.retry_after));
    };
    accepted(asks(bob, rooms[0]).await);
    accepted(asks(bob, rooms[1]).await);
    full(bob, rooms[2]).await;
    accepted(asks(&eve, rooms[0]).await);
    // Three are all there may be, though neither Eve nor the third room has two.
    full(&eve, rooms[2]).await;
    let ended: i64 = bench.count("SELECT min(id) FROM runs WHERE state = 'queued'");
    bench.does(bob, Command::StopRun { room: rooms[0], run: RunId::new(ended) }).await;
    // Two conversations in a room, and no third.
    accepted(asks(&scene.ann, rooms[0]).await);
    bench.does(bob, Command::StopRun { room: rooms[1], run: RunId::new(ended + 1) }).await;
    full(bob, rooms[0]).await;
    accepted(asks(bob, rooms[2]).await);
}

/// Proves AI-06.
async fn who_is_mentioned_is_asked(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, bob, room) = (&scene.bench, &scene.bob, scene.room);
    let eva = new_assistant(bench, &scene.ann, "Eva").await;
    let id = Uuid::new_v4();
    let (ack, events) = bench.does(bob, post(room, id, "@ada and @Eva, what is it?")).await;
    assert_eq!(kinds(&events), ["message.posted"; 3]);
    let (message, runs) = said(ack);
    let asked: Vec<UserId> = runs.iter().map(|run| run.assistant).collect();
    assert_eq!(asked, [scene.ada.id, eva.id]);
    let started: Vec<Started> = runs.iter().map(|run| run.outcome.clone().expect("asked")).collect();
    let history = bench.store.history(room, HistoryPage::Newest, 10).await.unwrap().messages;
    for (started, who) in started.iter().zip([&scene.ada, &eva]) {
        let place = history.iter().find(|message| message.id == started.message).expect("its place");
        let run = place.run.as_ref().expect("a run");
        assert_eq!((&place.author, &*place.body, run.id, run.prompt), (who, "…", started.run, message));
    }
    // The same again is the same.
    let (_, repeated) = said(bench.does(bob, post(room, id, "@ada and @Eva, what is it?")).await.0);
    assert!(repeated.iter().zip(&started).all(|(again, first)| {
        again.outcome.as_ref().is_ok_and(|again| *again == Started { duplicate: true, ..*first })
    }));
    assert_eq!(bench.count("SELECT count(*) FROM runs"), 2);
    // The next is posted, though nobody answers it.
    let (message, runs) = said(bench.does(bob, post(room, Uuid::new_v4(), "@Ada, hurry")).await.0);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].outcome.as_ref().expect_err("busy").run, Some(started[0].run));
    assert!(bench.store.message(hearth::domain::EventId::new(message.get())).await.unwrap().is_some());
    // Where it isn't a member it isn't asked; in a direct room it needs no name.
    let den = scene.closed(&[bob.id]).await;
    assert!(said(bench.does(bob, post(den, Uuid::new_v4(), "@Ada?")).await.0).1.is_empty());
    let direct = bench.creates(bob, NewRoomKind::Direct, None, &[scene.ada.id]).await.id;
    let (_, runs) = said(bench.does(bob, post(direct, Uuid::new_v4(), "hello")).await.0);
    assert_eq!((runs.len(), runs[0].assistant), (1, scene.ada.id));
}

/// A post that is repeated asks those whom it asked in vain, and tells of the others what they were asked.
///
/// Proves AI-23.
async fn what_was_asked_in_vain_is_asked_again(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, bob, room) = (&scene.bench, &scene.bob, scene.room);
    let eva = new_assistant(bench, &scene.ann, "Eva").await;
    let busy = scene.asks(bob).await;
    let (id, text) = (Uuid::new_v4(), "@Ada and @Eva, what is it?");
    let of = |runs: &[Summoned], assistant: UserId| {
        runs.iter().find(|run| run.assistant == assistant).expect("asked").outcome.clone()
    };
    let (message, runs) = said(bench.does(bob, post(room, id, text)).await.0);
    let started = of(&runs, eva.id).expect("asked");
    assert_eq!(of(&runs, scene.ada.id).expect_err("busy").run, Some(busy.run));
    // It is still so, whoever lost the reply.
    let (ack, events) = bench.does(bob, post(room, id, text)).await;
    let (again, runs) = said(ack);
    assert_eq!((again, events.len(), runs.len()), (message, 0, 2));
    assert_eq!(of(&runs, scene.ada.id).expect_err("busy").run, Some(busy.run));
    assert_eq!(of(&runs, eva.id), Ok(Started { duplicate: true, ..started }));
    bench.does(bob, Command::StopRun { room, run: busy.run }).await;
    let (ack, events) = bench.does(bob, post(room, id, text)).await;
    assert_eq!(kinds(&events), ["message.posted"]);
    let late = of(&said(ack).1, scene.ada.id).expect("there is room now");
    assert!(!late.duplicate);
    for _ in 0..2 {
        let (ack, events) = bench.does(bob, post(room, id, text)).await;
        assert_eq!(of(&said(ack).1, scene.ada.id), Ok(Started { duplicate: true, ..late }));
        assert!(events.is_empty());
    }
    assert_eq!(bench.count(&format!("SELECT count(*) FROM runs WHERE prompt_id = {message}")), 2);
    // What isn't there any more, or not as it was, asks nobody; nor does who may not post any more.
    let den = scene.closed(&[bob.id, scene.ada.id]).await;
    scene.budgets(Scope::Room(den), Some(1), None).await;
    let mut posted = Vec::new();
    for _ in 0..3 {
        let id = Uuid::new_v4();
        let (message, runs) = said(bench.does(bob, post(den, id, "@Ada?")).await.0);
        assert!(runs[0].outcome.is_err());
        posted.push((id, message));
    }
    scene.budgets(Scope::Room(den), None, None).await;
    bench.does(bob, Command::DeleteMessage { room: den, message: posted[0].1 }).await;
    let body = hearth::domain::MessageBody::parse("@Ada!").unwrap();
    bench.does(bob, Command::EditMessage { room: den, message: posted[1].1, version: 1, body }).await;
    for (id, _) in &posted[..2] {
        assert!(said(bench.does(bob, post(den, *id, "@Ada?")).await.0).1.is_empty());
    }
    bench.does(&scene.ann, Command::RemoveMember { room: den, user: bob.id }).await;
    assert!(said(bench.does(bob, post(den, posted[2].0, "@Ada?")).await.0).1.is_empty());
    assert_eq!(bench.count(&format!("SELECT count(*) FROM runs WHERE room_id = {den}")), 0);
}

/// Proves AI-23.
async fn a_question_is_asked_once(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, bob) = (&scene.bench, &scene.bob);
    let message = bench.posts(bob, scene.room, "what?").await.id;
    let asked: Vec<_> = (0..10)
        .map(|nth| by(if nth % 2 == 0 { bob } else { &scene.ann }, scene.ask(message)))
        .map(|write| bench.store.submit(vec![write], NOW).unwrap())
        .collect();
    let mut started = Vec::new();
    for outcome in asked {
        match accepted(outcome.await.unwrap().pop().unwrap()).0 {
            Ack::Asked(one) => started.push(one),
            ack => panic!("{ack:?}"),
        }
    }
    assert_eq!(started.iter().filter(|one| !one.duplicate).count(), 1);
    assert!(started.iter().all(|one| (one.run, one.message) == (started[0].run, started[0].message)));
    let holder = Uuid::new_v4();
    scene.takes(started[0].run, holder).await.expect("taken");
    bench.does(&scene.ada, scene.end(started[0].run, holder, RunState::Done, "that")).await;
    // Nor once it is answered, by whichever door.
    assert!(scene.started(bob, scene.ask(message)).await.duplicate);
    assert_eq!(bench.count("SELECT count(*) FROM runs"), 1);
    assert_eq!(bench.count("SELECT count(*) FROM messages WHERE body = 'that'"), 1);
}

/// Proves AI-23.
async fn an_answer_is_asked_for_again_once(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, bob, room, ada) = (&scene.bench, &scene.bob, scene.room, scene.ada.id);
    let message = bench.posts(bob, room, "what?").await.id;
    let first = scene.started(bob, scene.ask(message)).await;
    let busy = bench.refuses(&scene.ann, again(room, ada, message, first.run)).await;
    assert_eq!((busy.code, busy.run), (RejectionCode::AiBusy, Some(first.run)));
    bench.does(bob, Command::StopRun { room, run: first.run }).await;
    let second = scene.started(bob, again(room, ada, message, first.run)).await;
    assert!(!second.duplicate && second.run != first.run && second.message != first.message);
    let repeated = scene.started(&scene.ann, again(room, ada, message, first.run)).await;
    assert_eq!(repeated, Started { duplicate: true, ..second });
    bench.does(bob, Command::StopRun { room, run: second.run }).await;
    let third = scene.started(bob, again(room, ada, message, second.run)).await;
    assert!(third.run > second.run);
    let other = bench.posts(bob, room, "and that?").await.id;
    for wrong in [again(room, ada, other, first.run), again(room, ada, message, RunId::new(999))] {
        let rejection = bench.refuses(bob, wrong).await;
        assert_eq!(rejection.field.as_deref(), Some("regenerates"));
    }
}

/// A bot and an assistant mention each other, and it ends: what the bot says asks the assistant, what the assistant says tells nobody.
///
/// Proves BOT-08.
async fn chains_of_programs_end(mut bench: Bench) {
    let scene = Scene::set(bench).await;
    let (room, ada) = (scene.room, &scene.ada);
    let mut robots = Vec::new();
    for who in ["Robot", "Golem"] {
        let bot = Enrolment::Bot {
            by: scene.ann.clone(),
            name: name(who),
            key_hash: [robots.len() as u8; 32],
            webhook: Some(WebhookUrl::parse("http://127.0.0.1:9/hook").unwrap()),
            expires_in: None,
            key: None,
        };
        robots.push(scene.bench.enrolled(bot).await);
    }
    let told = || scene.bench.count("SELECT count(*) FROM outbox");
    let (ack, _) = scene.bench.does(&robots[0], post(room, Uuid::new_v4(), "@Ada @Golem, go on")).await;
    let (_, runs) = said(ack);
    assert_eq!((runs.len(), told()), (1, 0), "bots ask assistants, and no bots");
    let run = runs[0].outcome.as_ref().expect("asked").run;
    let holder = Uuid::new_v4();
    scene.takes(run, holder).await.expect("taken");
    let (_, events) =
        scene.bench.does(ada, scene.end(run, holder, RunState::Done, "@Robot @Golem @Ada, go on")).await;
    assert_eq!((kinds(&events), told()), (vec!["ai.ended"], 0));
    assert_eq!(scene.bench.count("SELECT count(*) FROM runs"), 1);
    // If it speaks by itself, too.
    let eva = new_assistant(&scene.bench, &scene.ann, "Eva").await;
    let (ack, _) = scene.bench.does(&eva, post(room, Uuid::new_v4(), "@Ada @Robot, go on")).await;
    assert_eq!((said(ack).1, told()), (vec![], 0));
    // And where no program may ask, none does.
    let Scene { bench: opened, .. } = scene;
    bench = opened;
    bench.options.runs = RunTerms { hops: 0, ..RunTerms::DEFAULT };
    let bench = bench.reopened().await;
    let (ack, _) = bench.does(&robots[1], post(room, Uuid::new_v4(), "@Ada, go on")).await;
    assert!(said(ack).1.is_empty());
}

/// A bot that answers whatever an assistant says by a question comes to an end, unless somebody else speaks or it takes its time; and
/// people are asked for nothing of the kind.
///
/// Proves BOT-08.
async fn what_programs_ask_in_a_row_has_an_end(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, room, ada) = (&scene.bench, scene.room, &scene.ada);
    let enrolment = Enrolment::Bot {
        by: scene.ann.clone(),
        name: name("Robot"),
        key_hash: [1; 32],
        webhook: None,
        expires_in: None,
        key: None,
    };
    let robot = bench.enrolled(enrolment).await;
    let holder = Uuid::new_v4();
    let goes_on = async |who: &Person, at: Timestamp| {
        let write = by(who, post(room, Uuid::new_v4(), "@Ada, go on"));
        let verdict = bench.store.submit(vec![write], at).unwrap().await.unwrap().pop().unwrap();
        let (_, mut runs) = said(accepted(verdict).0);
        let run = runs.remove(0).outcome?.run;
        scene.takes(run, holder).await.expect("taken");
        bench.does(ada, scene.end(run, holder, RunState::Done, "that")).await;
        Ok::<(), Rejection>(())
    };
    let most = RunTerms::DEFAULT.hops;
    for _ in 0..2 {
        for hop in 0..most {
            assert_eq!(goes_on(&robot, NOW).await, Ok(()), "{hop}");
        }
        let refused = goes_on(&robot, NOW).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after),
            (RejectionCode::RateLimited, Some(Duration::from_secs(60)))
        );
        // By the other door, too.
        let message = bench.posts(&robot, room, "what?").await.id;
        assert_eq!(bench.refuses(&robot, scene.ask(message)).await.code, RejectionCode::RateLimited);
        // Somebody speaks: it begins anew.
        bench.posts(&scene.bob, room, "oh, do go on").await;
    }
    for _ in 0..=most {
        assert_eq!(goes_on(&scene.bob, NOW).await, Ok(()));
    }
    for _ in 0..most {
        assert_eq!(goes_on(&robot, NOW).await, Ok(()));
    }
    assert!(goes_on(&robot, NOW.after(Duration::from_secs(59))).await.is_err());
    assert_eq!(goes_on(&robot, NOW.after(Duration::from_secs(60))).await, Ok(()), "it follows from nothing");
}

async fn those_who_are_gone_are_not_asked(bench: Bench) {
    let scene = Scene::set(bench).await;
    let (bench, bob, assistant) = (&scene.bench, &scene.bob, scene.ada.id);
    let message = bench.posts(bob, scene.room, "what?").await.id;
    assert_eq!(
        bench.refuses(bob, Command::RemoveAssistant { assistant }).await.code,
        RejectionCode::Forbidden
    );
    let (_, events) = bench.does(&scene.ann, Command::RemoveAssistant { assistant }).await;
    assert_eq!(kinds(&events), ["user.left"]);
    assert_eq!(bench.refuses(bob, scene.ask(message)).await.code, RejectionCode::NotFound);
    let (ack, _) = bench.does(bob, post(scene.room, Uuid::new_v4(), "@Ada?")).await;
    assert!(said(ack).1.is_empty());
    let gone = Command::RemoveAssistant { assistant };
    assert_eq!(bench.refuses(&scene.ann, gone).await.code, RejectionCode::NotFound);
    assert!(bench.store.assistants().await.unwrap().is_empty());
    // Nobody but an admin makes one.
    let enrolment = Enrolment::Assistant { by: bob.clone(), name: name("Eva"), terms: Box::new(terms()) };
    assert_eq!(code(&bench.one(enrols(enrolment)).await), Some(RejectionCode::Forbidden));
}
