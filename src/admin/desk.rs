//! What carries out commands: who may is checked here.

use std::sync::Arc;

use pgwire::api::portal::Format;
use pgwire::api::results::{Response, Tag};
use pgwire::error::PgWireResult;

use super::command::{Command, Show, parameter};
use super::orders::Orders;
use super::rights::{Origin, Rights};
use super::settings::SettingsInForce;
use super::show::{Sight, reload_columns, rotation_columns};
use super::table::{Column, Kind, Table, Value};
use super::{answer, refusal};
use crate::snapshot::{Snapshot, Watched};

/// Carries out commands.
#[derive(Debug)]
pub(super) struct Desk {
    /// What tables are made from.
    pub(super) watched: Arc<Watched>,
    /// What commands reach.
    pub(super) orders: Orders,
    /// Who may give them.
    pub(super) rights: Rights,
    /// The settings in force.
    pub(super) shown: Arc<SettingsInForce>,
}

const ONE: &[Column] = &[Column { name: "?column?", kind: Kind::Int8, meaning: "1" }];
const VERSION: &[Column] = &[Column { name: "version", kind: Kind::Text, meaning: "The server's version." }];
const PARAMETER: &[Column] = &[Column { name: "setting", kind: Kind::Text, meaning: "The value." }];

impl Command {
    /// The columns of its answer; none if it has no rows.
    pub(super) fn columns(&self) -> &'static [Column] {
        match self {
            Self::Show(show) => show.columns(),
            Self::Rotate(_) | Self::Retire(..) => rotation_columns(),
            Self::Reload => reload_columns(),
            Self::Parameter(_) => PARAMETER,
            Self::SelectOne => ONE,
            Self::SelectVersion => VERSION,
            Self::Begin
            | Self::End(_)
            | Self::Nothing(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Reconnect(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Kill(..)
            | Self::Shutdown => &[],
        }
    }
}

impl Desk {
    /// Carries out one command of a client that comes from there.
    pub(super) async fn run(
        &self,
        command: &Command,
        formats: &Format,
        origin: Origin,
    ) -> PgWireResult<Response> {
        if command.changes() {
            self.rights.check(origin).map_err(|denied| refusal::raise(refusal::denied(denied)))?;
            return self.order(command, formats).await;
        }
        let single = |value| Table { columns: command.columns(), rows: vec![vec![value]] };
        match command {
            Command::Show(show) => {
                let table = self.show(*show).await;
                answer::rows(&table, "SHOW", formats)
            }
            Command::Parameter(name) => {
                let value = Value::Text(parameter(name).map(str::to_owned));
                answer::rows(&single(value), "SHOW", formats)
            }
            Command::SelectOne => answer::rows(&single(Value::count(1)), "SELECT", formats),
            Command::SelectVersion => {
                let version = parameter("server_version").unwrap_or("");
                let value = Value::text(format!("PostgreSQL {version}"));
                answer::rows(&single(value), "SELECT", formats)
            }
            Command::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            Command::End(tag) => Ok(Response::TransactionEnd(Tag::new(tag))),
            other => Ok(Response::Execution(Tag::new(other.tag()))),
        }
    }

    async fn order(&self, command: &Command, formats: &Format) -> PgWireResult<Response> {
        let orders = &self.orders;
        let done = match command {
            Command::Rotate(name) => {
                let table = orders.rotate(name.as_ref()).await.map_err(|info| refusal::raise(*info))?;
                return answer::rows(&table, command.tag(), formats);
            }
            Command::Retire(number, name) => {
                let table =
                    orders.retire(*number, name.as_ref()).await.map_err(|info| refusal::raise(*info))?;
                return answer::rows(&table, command.tag(), formats);
            }
            Command::Reload => {
                let table = orders.reload().map_err(|info| refusal::raise(*info))?;
                return answer::rows(&table, command.tag(), formats);
            }
            Command::Pause(name) => orders.pause(name.as_ref()).await,
            Command::Resume(name) => orders.resume(name.as_ref()),
            Command::Reconnect(name) => orders.reconnect(name.as_ref()),
            Command::Disable(name) => orders.disable(name, true),
            Command::Enable(name) => orders.disable(name, false),
            Command::Kill(client, _) => orders.kill(*client).await,
            Command::Shutdown => {
                orders.shutdown();
                Ok(())
            }
            _ => Ok(()),
        };
        done.map_err(|info| refusal::raise(*info))?;
        Ok(Response::Execution(Tag::new(command.tag())))
    }

    async fn show(&self, show: Show) -> Table {
        let view = match show.depth() {
            Some(depth) => self.watched.look(depth).await,
            None => Snapshot::empty(),
        };
        let status = match show {
            Show::Mem => std::fs::read_to_string("/proc/self/status").unwrap_or_default(),
            _ => String::new(),
        };
        show.table(&Sight { view: &view, shown: &self.shown.get(), status: &status })
    }
}
