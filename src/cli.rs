//! The command line: settings from flags, and what to do with them.

mod admin;
mod assistant;
mod keys;
mod migrate;
mod verify;

use crate::config::{self, Config, Sources};
use crate::{app, telemetry};
use clap::{Args, Parser, Subcommand};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Team chat on a coordination server that loses nothing.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Verb>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the chat (this is what happens without a command).
    Serve(ServeFlags),
    /// Bring the database's schema up to date, take a step back, or compare.
    Migrate {
        #[command(subcommand)]
        step: migrate::Step,
        #[command(flatten)]
        flags: CommonFlags,
    },
    /// Compare what is derived (heads, search, read marks) with the log; fails when they differ.
    Verify {
        #[command(flatten)]
        verify: verify::VerifyFlags,
        #[command(flatten)]
        flags: CommonFlags,
    },
    /// The keys that sign access tokens and links; a running server takes over new ones.
    Keys {
        #[command(subcommand)]
        task: keys::Task,
        #[command(flatten)]
        flags: CommonFlags,
    },
    /// Look after people while the server is down.
    Admin {
        #[command(subcommand)]
        task: admin::Task,
        #[command(flatten)]
        flags: CommonFlags,
    },
}

/// What every command understands.
#[derive(Debug, Args)]
struct CommonFlags {
    /// Settings file [default: hearth.toml, when there is one].
    #[arg(long, global = true, value_name = "FILE", env = "HEARTH_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the SQLite database [default: ./data].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// PostgreSQL instead of SQLite: postgres://user:password@host/database.
    #[arg(long, global = true, value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// Any setting: --set heartbeat.interval_ms=500.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json.
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Args)]
struct ServeFlags {
    /// Address to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// What people type into their browser, when a proxy stands in front: https://chat.example.org.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Make up nothing: secrets that are missing stop the start.
    #[arg(long)]
    production: bool,
    /// Threads that serve [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Does what the arguments of this process say.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => serve(cli.serve),
        Some(Verb::Serve(flags)) => serve(flags),
        Some(Verb::Migrate { step, flags }) => flags.settle().and_then(|config| migrate::run(step, &config)),
        Some(Verb::Verify { verify, flags }) => {
            flags.settle().and_then(|config| verify::run(verify, &config))
        }
        Some(Verb::Keys { task, flags }) => flags.settle().and_then(|config| keys::run(task, &config)),
        Some(Verb::Admin { task, flags }) => flags.settle().and_then(|config| admin::run(task, &config)),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("hearth: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: ServeFlags) -> Result<ExitCode, String> {
    let ServeFlags { listen, public_url, production, workers, common } = flags;
    let config = common.settle_with([
        ("server.listen", listen),
        ("server.public_url", public_url),
        ("server.production", production.then(|| true.to_string())),
        ("server.workers", workers),
    ])?;
    telemetry::metrics::install()?;
    app::serve(config).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

impl CommonFlags {
    fn settle(self) -> Result<Config, String> {
        self.settle_with([])
    }

    /// Reads the settings and starts logging.
    fn settle_with<const N: usize>(self, others: [(&str, Option<String>); N]) -> Result<Config, String> {
        let named = [
            ("storage.data_dir", self.data_dir),
            ("storage.database", self.database),
            ("log.level", self.log_level),
            ("log.format", self.log_format),
        ];
        let given = named.into_iter().chain(others);
        let given = given.filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let sources = Sources {
            file: self.config,
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            flags: self.settings.into_iter().chain(given).collect(),
        };
        let config = config::load(&sources).map_err(|error| error.to_string())?;
        telemetry::log::start(&config.log)?;
        if config.storage.database.is_none() {
            let dir = &config.storage.data_dir;
            // What is said is nobody's business but its owner's.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| format!("can't make {}: {error}", dir.display()))?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense() {
        Cli::command().debug_assert();
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let cli =
            parse("hearth --listen 127.0.0.1:1 --data-dir d --set a.b=c").expect("serve is the default");
        assert_eq!(cli.serve.listen.as_deref(), Some("127.0.0.1:1"));
        assert_eq!(cli.serve.common.settings, [("a.b".to_owned(), "c".to_owned())]);
        assert!(parse("hearth serve --workers 2 --public-url https://x").is_ok());
        assert!(parse("hearth migrate status --data-dir d").is_ok());
        assert!(parse("hearth admin create-user --name Ann --email ann@example.org --data-dir d").is_ok());
        assert!(parse("hearth verify --repair --data-dir d").is_ok());
        assert!(parse("hearth migrate").is_err());
        assert!(parse("hearth --set x").is_err());
    }
}
