//! `hearth admin`: people and assistants, while the server is down (it holds the lock of its database).

use super::assistant;
use crate::auth::email;
use crate::auth::password::{self, Password};
use crate::auth::token::Token;
use crate::config::Config;
use crate::domain::{Ack, Enrolment, Name, Origin, PasswordProof, Rejection, Role, SessionChange};
use crate::protocol::payload;
use crate::storage::{Store, Verdict, Write};
use chrono::Utc;
use clap::{Args, Subcommand};
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Make a user; the account too, when it is the first one.
    CreateUser {
        #[arg(long)]
        name: String,
        #[arg(long)]
        email: String,
        /// admin, member or guest.
        #[arg(long, default_value = "member", value_parser = role)]
        role: Role,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Give somebody a new password and sign them out everywhere.
    ResetPassword {
        #[arg(long)]
        email: String,
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// Assistants: models that answer in rooms.
    Assistant {
        #[command(subcommand)]
        task: assistant::Task,
    },
}

/// Where the password comes from; never an argument, which everybody on the machine could read.
#[derive(Debug, Args)]
pub(super) struct PasswordFlags {
    /// A file with the password in its first line, - for standard input; without it one is made up and printed.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

fn role(text: &str) -> Result<Role, String> {
    match Role::parse(text) {
        Some(role @ (Role::Admin | Role::Member | Role::Guest)) => Ok(role),
        _ => Err("one of admin, member, guest".to_owned()),
    }
}

pub(super) fn run(task: Task, config: &Config) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match task {
        Task::Assistant { task } => {
            let enrolment = task.enrolment()?;
            let store = open(config)?;
            let ack = runtime.block_on(enrol(&store, enrolment));
            runtime.block_on(store.close());
            let Ack::Enrolled { person, .. } = ack? else { return Err("nobody was made".to_owned()) };
            println!("made {} {} (id {})", person.role.as_str(), person.name, person.id);
        }
        Task::CreateUser { name, email, role, password } => {
            let name = Name::parse("name", &name).map_err(said)?;
            let email = email::normalise(&email).map_err(said)?;
            let (password, made_up) = password.take()?;
            let password_hash = password::hash_now(&password).map_err(said)?;
            let store = open(config)?;
            let enrolment = Enrolment::Operator { name, email, password_hash, role };
            let ack = runtime.block_on(enrol(&store, enrolment));
            runtime.block_on(store.close());
            let Ack::Enrolled { person, .. } = ack? else { return Err("nobody was made".to_owned()) };
            println!("made {} {} (id {})", person.role.as_str(), person.name, person.id);
            show(made_up);
        }
        Task::ResetPassword { email, password } => {
            let email = email::normalise(&email).map_err(said)?;
            let (password, made_up) = password.take()?;
            let password_hash = password::hash_now(&password).map_err(said)?;
            let store = open(config)?;
            let reset = runtime.block_on(reset(&store, &email, password_hash));
            runtime.block_on(store.close());
            reset?;
            println!("the password of {email} is changed, all sessions are ended");
            show(made_up);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Config) -> Result<Store, String> {
    Store::open(config.storage.options(), payload::encode).map_err(|error| error.to_string())
}

async fn enrol(store: &Store, enrolment: Enrolment) -> Result<Ack, String> {
    write(store, Write::Enrol { enrolment, origin: Origin::OPERATOR }).await
}

async fn reset(store: &Store, email: &str, password_hash: String) -> Result<Ack, String> {
    let found = store.credentials(email).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("nobody signs in as {email}"))?;
    let (user, proof) = (found.person.id, PasswordProof::Operator);
    let change = SessionChange::SetPassword { user, password_hash, proof, keep: None };
    write(store, Write::Session { change, origin: Origin::OPERATOR }).await
}

async fn write(store: &Store, write: Write) -> Result<Ack, String> {
    let outcome = store.submit(vec![write], Utc::now().into());
    let outcome = outcome.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
    match outcome.into_iter().next() {
        Some(Ok(Verdict::Accepted { ack, .. })) => Ok(ack),
        Some(Ok(Verdict::Refused(rejection))) => Err(said(rejection)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the store did not answer".to_owned()),
    }
}

impl PasswordFlags {
    /// The password, and its text when it was made up.
    fn take(self) -> Result<(Password, Option<String>), String> {
        match self.password_file {
            Some(path) => Ok((Password::parse(first_line("the password", &path)?).map_err(said)?, None)),
            None => {
                let made_up = Token::random().reveal().to_owned();
                Ok((Password::parse(made_up.clone()).map_err(said)?, Some(made_up)))
            }
        }
    }
}

/// The first line of a file, or of standard input.
pub(super) fn first_line(what: &str, path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("can't read {what} from {}: {error}", path.display());
    let text = if path == Path::new("-") {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
        line
    } else {
        fs::read_to_string(path).map_err(unreadable)?
    };
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn show(made_up: Option<String>) {
    if let Some(password) = made_up {
        println!("password: {password}");
    }
}

pub(super) fn said(rejection: Rejection) -> String {
    rejection.message.into_owned()
}
