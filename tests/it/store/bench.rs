//! What the contracts work with: a store on a fresh database, people in it, and a way around it.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{
    Connection, PgConnection, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query,
};
use hearth::domain::command::Recorded;
use hearth::domain::{
    Ack, Command, Enrolment, EventBody, MessageBody, Name, NewRoomKind, Origin, Person, Position, Principal,
    Rejection, RejectionCode, Role, RoomCard, RoomId, Timestamp, UserId,
};
use hearth::storage::{
    BatchOutcome, Database, PostgresUrl, Profile, StorageOptions, Store, StoreError, Verdict, Write,
};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

/// A store and what is needed to open it again or to look behind it.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) options: StorageOptions,
    directory: Option<TempDir>,
}

/// The account after the first run.
pub(crate) struct Home {
    pub(crate) admin: Person,
    pub(crate) general: RoomId,
}

/// The moment everything happens at. The database keeps a month of the audit trail by its own clock, so it has to be to come: in 2099.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(4_100_000_000_000);

impl Bench {
    pub(crate) fn on_sqlite() -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = StorageOptions::new(Database::Sqlite { path: directory.path().join("hearth.db") });
        Self { store: open(&options), options, directory: Some(directory) }
    }

    pub(crate) fn on_postgres() -> Self {
        let url = PostgresUrl::new(crate::postgres::database());
        let options = StorageOptions { readers: 2, ..StorageOptions::new(Database::Postgres { url }) };
        Self { store: open(&options), options, directory: None }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.directory.is_some()
    }

    /// The database file, on SQLite.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.as_ref().expect("SQLite").path().join("hearth.db")
    }

    /// What only addresses of this database contain.
    pub(crate) fn address(&self) -> String {
        match &self.options.database {
            Database::Sqlite { path } => path.display().to_string(),
            // These URLs have no password to hide.
            Database::Postgres { url } => url.to_string(),
        }
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopened(self) -> Self {
        let Self { store, options, directory } = self;
        store.close().await;
        drop(store);
        Self { store: open(&options), options, directory }
    }

    /// Drops the store without closing it and opens it again.
    pub(crate) fn reopened_after_drop(self) -> Self {
        let Self { store, options, directory } = self;
        drop(store);
        Self { store: open(&options), options, directory }
    }

    /// Runs the first run: Ann is the admin.
    pub(crate) async fn home(&self) -> Home {
        let set_up = Enrolment::SetUp {
            account_name: name("Acme"),
            join_code: "join-me".to_owned(),
            name: name("Ann"),
            email: "ann@example.org".to_owned(),
            password_hash: "hash".to_owned(),
        };
        match accepted(self.one(enrols(set_up)).await).0 {
            Ack::Enrolled { person, room: Some(room) } => Home { admin: person, general: room.id },
            ack => panic!("{ack:?}"),
        }
    }

    /// A new person by the operator's hand.
    pub(crate) async fn person(&self, who: &str, role: Role) -> Person {
        let enrolment = Enrolment::Operator {
            name: name(who),
            email: format!("{who}@example.org"),
            password_hash: "hash".to_owned(),
            role,
        };
        self.enrolled(enrolment).await
    }

    pub(crate) async fn enrolled(&self, enrolment: Enrolment) -> Person {
        match accepted(self.one(enrols(enrolment)).await).0 {
            Ack::Enrolled { person, .. } => person,
            ack => panic!("{ack:?}"),
        }
    }

    /// Those who are active, as whoever sees everybody is told.
    pub(crate) async fn people(&self, after: Option<UserId>, limit: usize) -> Vec<Profile> {
        let asker = Person { id: UserId::new(0), name: "Somebody".into(), role: Role::Member };
        self.store.people(&asker, false, after, limit).await.expect("people")
    }

    /// Submits one batch and waits for it.
    pub(crate) async fn batch(&self, writes: Vec<Write>) -> BatchOutcome {
        let count = writes.len();
        let outcome = self.store.submit(writes, NOW).expect("room in the queue").await.expect("an outcome");
        assert_eq!(outcome.len(), count);
        outcome
    }

    /// A batch of one.
    pub(crate) async fn one(&self, write: Write) -> Result<Verdict, StoreError> {
        self.batch(vec![write]).await.pop().expect("one verdict")
    }

    /// A command that is expected to be accepted.
    pub(crate) async fn does(&self, actor: &Person, command: Command) -> (Ack, Vec<Recorded>) {
        accepted(self.one(by(actor, command)).await)
    }

    /// A command that is expected to be refused.
    pub(crate) async fn refuses(&self, actor: &Person, command: Command) -> Rejection {
        refused(self.one(by(actor, command)).await)
    }

    pub(crate) async fn posts(&self, actor: &Person, room: RoomId, text: &str) -> Position {
        match self.does(actor, post(room, Uuid::new_v4(), text)).await.0 {
            Ack::Posted { position, duplicate: false, .. } => position,
            ack => panic!("{ack:?}"),
        }
    }

    pub(crate) async fn creates(
        &self,
        actor: &Person,
        kind: NewRoomKind,
        title: Option<&str>,
        members: &[UserId],
    ) -> Arc<RoomCard> {
        let command =
            Command::CreateRoom { kind, name: title.map(name), members: members.to_vec(), key: None };
        match self.does(actor, command).await.0 {
            Ack::RoomCreated { room, .. } => room,
            ack => panic!("{ack:?}"),
        }
    }

    /// Statements behind the store's back.
    pub(crate) fn sql(&self, sql: &str) -> QueryResult<()> {
        match &self.options.database {
            Database::Sqlite { path } => {
                let mut conn = SqliteConnection::establish(&path.display().to_string()).expect("connect");
                conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON")?;
                conn.batch_execute(sql)
            }
            Database::Postgres { .. } => self.postgres().batch_execute(sql),
        }
    }

    /// A number, asked for behind the store's back.
    pub(crate) fn count(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let query = sql_query(format!("WITH counted (n) AS ({sql}) SELECT n FROM counted"));
        let row: Count = match &self.options.database {
            Database::Sqlite { path } => {
                let mut conn = SqliteConnection::establish(&path.display().to_string()).expect("connect");
                query.get_result(&mut conn).expect("a number")
            }
            Database::Postgres { .. } => query.get_result(&mut self.postgres()).expect("a number"),
        };
        row.n
    }

    /// The plan of a query, as text; with placeholders the one for whatever stands in them.
    pub(crate) fn plan(&self, sql: &str) -> String {
        #[derive(QueryableByName)]
        struct Sqlite {
            #[diesel(sql_type = Text)]
            detail: String,
        }
        #[derive(QueryableByName)]
        struct Postgres {
            #[diesel(sql_type = Text)]
            #[diesel(column_name = "QUERY PLAN")]
            plan: String,
        }
        match &self.options.database {
            Database::Sqlite { path } => {
                let mut conn = SqliteConnection::establish(&path.display().to_string()).expect("connect");
                let query = sql_query(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows: Vec<Sqlite> = query.load(&mut conn).expect("a plan");
                rows.into_iter().map(|row| row.detail + "\n").collect()
            }
            Database::Postgres { .. } => {
                let mut conn = self.postgres();
                let holes = (1..).take_while(|nth| sql.contains(&format!("${nth}"))).count();
                let filled = if holes == 0 {
                    sql.to_owned()
                } else {
                    let asked = format!("SET plan_cache_mode = force_generic_plan; PREPARE asked AS {sql}");
                    conn.batch_execute(&asked).unwrap_or_else(|error| panic!("{sql}: {error}"));
                    format!("EXECUTE asked ({})", vec!["NULL"; holes].join(", "))
                };
                let rows: Vec<Postgres> =
                    sql_query(format!("EXPLAIN {filled}")).load(&mut conn).expect("a plan");
                rows.into_iter().map(|row| row.plan + "\n").collect()
            }
        }
    }

    pub(crate) fn postgres(&self) -> PgConnection {
        let Database::Postgres { url } = &self.options.database else { panic!("not on PostgreSQL") };
        // These URLs have no password to hide.
        PgConnection::establish(&url.to_string()).expect("connect")
    }
}

pub(crate) fn open(options: &StorageOptions) -> Store {
    Store::open(options.clone(), encode).expect("open the store")
}

/// Enough to see which event it is.
pub(crate) fn encode(body: &EventBody) -> String {
    serde_json::json!({ "kind": body.kind(), "body": format!("{body:?}") }).to_string()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a name")
}

/// Another name for oneself.
pub(crate) fn renamed(text: &str) -> Command {
    Command::UpdateProfile { name: Some(name(text)), bio: None }
}

pub(crate) fn post(room: RoomId, client_message_id: Uuid, text: &str) -> Command {
    Command::PostMessage {
        room,
        client_message_id,
        body: MessageBody::parse(text).expect("a body"),
        settings: None,
    }
}

pub(crate) fn by(actor: &Person, command: Command) -> Write {
    Write::Command { by: Principal::of_system(actor.clone()), command }
}

pub(crate) fn enrols(enrolment: Enrolment) -> Write {
    Write::Enrol { enrolment, origin: Origin::SYSTEM }
}

pub(crate) fn accepted(result: Result<Verdict, StoreError>) -> (Ack, Vec<Recorded>) {
    match result {
        Ok(Verdict::Accepted { ack, events }) => (ack, events),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refused(result: Result<Verdict, StoreError>) -> Rejection {
    match result {
        Ok(Verdict::Refused(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}

/// The code of a refusal, or none.
pub(crate) fn code(result: &Result<Verdict, StoreError>) -> Option<RejectionCode> {
    match result {
        Ok(Verdict::Refused(rejection)) => Some(rejection.code),
        _ => None,
    }
}

/// The kinds of the events, in order.
pub(crate) fn kinds(events: &[Recorded]) -> Vec<&'static str> {
    events.iter().map(|recorded| recorded.event.body.kind()).collect()
}
