//! `renewd-ccm zone`: the zones that stand for Huawei Cloud DNS.

use std::io::Write as _;

use clap::Subcommand;
use serde_json::Value;

use crate::ccm_server::admin::Admin;
use crate::ccm_server::cli::{Failed, print};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a zone; one that is there already stays as it is.
    Add {
        /// A domain such as example.com.
        name: String,
        /// The account that holds it; made when missing.
        #[arg(long, default_value = "default")]
        account: String,
    },
    /// Remove a zone with the records that the server wrote into it; what they have proven stays proven.
    Remove {
        /// The zone.
        name: String,
        /// The account that holds it.
        #[arg(long, default_value = "default")]
        account: String,
    },
    /// List the zones of an account with the records that the server wrote into them.
    List {
        /// The account that holds them.
        #[arg(long, default_value = "default")]
        account: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Carries a command out.
pub(super) async fn run(command: Command, admin: Admin) -> Result<(), Failed> {
    match command {
        Command::Add { name, account } => {
            admin.add_zone(&name, &account).await?;
            admin.close().await;
            Ok(())
        }
        Command::Remove { name, account } => {
            admin.remove_zone(&name, &account).await?;
            admin.close().await;
            Ok(())
        }
        Command::List { account, json } => {
            let all = admin.zones(&account).await?;
            admin.close().await;
            if json {
                return print(&Value::Array(all), true);
            }
            let mut out = std::io::stdout();
            for zone in &all {
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                writeln!(out, "{}", text(&zone["name"]))?;
                for record in zone["records"].as_array().into_iter().flatten() {
                    let (name, kind) = (text(&record["name"]), text(&record["type"]));
                    writeln!(out, "  {name} {kind} {}", text(&record["value"]))?;
                }
            }
            Ok(out.flush()?)
        }
    }
}
