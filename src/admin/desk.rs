//! What carries out commands: the handlers that pgwire calls.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::Sink;
use futures_util::future::join_all;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use super::command::{Command, Name, Show, parameter, parse, parse_one};
use super::settings::ShownSettings;
use super::show::{Rotated, Sight, rotation, rotation_columns};
use super::table::{Column, Kind, Table, Value};
use super::{answer, refusal};
use crate::credentials::Keeper;
use crate::snapshot::{Snapshot, Watched};

/// Carries out commands; what pgwire calls.
#[derive(Debug)]
pub(super) struct Desk {
    /// What tables are made from.
    pub(super) watched: Arc<Watched>,
    /// Databases, and who keeps each in users.
    pub(super) keepers: Vec<(String, Keeper)>,
    /// The settings in force.
    pub(super) shown: ShownSettings,
}

const ONE: &[Column] = &[Column { name: "?column?", kind: Kind::Int8, meaning: "1" }];
const VERSION: &[Column] = &[Column { name: "version", kind: Kind::Text, meaning: "The server's version." }];
const PARAMETER: &[Column] = &[Column { name: "setting", kind: Kind::Text, meaning: "The value." }];

impl Command {
    /// The columns of its answer; none if it has no rows.
    fn columns(&self) -> &'static [Column] {
        match self {
            Self::Show(show) => show.columns(),
            Self::Rotate(_) => rotation_columns(),
            Self::Parameter(_) => PARAMETER,
            Self::SelectOne => ONE,
            Self::SelectVersion => VERSION,
            Self::Begin | Self::End(_) | Self::Nothing(_) => &[],
        }
    }
}

impl Desk {
    async fn run(&self, command: &Command, formats: &Format) -> PgWireResult<Response> {
        let single = |value| Table { columns: command.columns(), rows: vec![vec![value]] };
        match command {
            Command::Show(show) => {
                let table = self.show(*show).await;
                answer::rows(&table, "SHOW", formats)
            }
            Command::Rotate(name) => {
                let table = self.rotate(name.as_ref()).await.map_err(refusal::raise)?;
                answer::rows(&table, "ROTATE", formats)
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
            Command::Nothing(tag) => Ok(Response::Execution(Tag::new(tag))),
        }
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
        show.table(&Sight { view: &view, shown: &self.shown, status: &status })
    }

    async fn rotate(&self, name: Option<&Name>) -> Result<Table, ErrorInfo> {
        let only = match name {
            None => None,
            Some(name) => Some(name.find(self.watched.names()).ok_or_else(|| {
                let known: Vec<&str> = self.watched.names().collect();
                refusal::unknown_database(&name.text, &known)
            })?),
        };
        let meant = self.keepers.iter().filter(|(name, _)| only.is_none_or(|only| name == only));
        let answers = meant.map(|(database, keeper)| async move {
            let accepted = keeper.rotate().await;
            tracing::info!(pool = %database, accepted, "rotation asked for at the console");
            Rotated { database: database.clone(), accepted, stopping: keeper.snapshot().stopping }
        });
        Ok(rotation(join_all(answers).await))
    }
}

#[async_trait]
impl SimpleQueryHandler for Desk {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let commands = parse(query).map_err(|why| refusal::raise(refusal::not_understood(&why)))?;
        if commands.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let mut answers = Vec::with_capacity(commands.len());
        for command in &commands {
            match self.run(command, &Format::UnifiedText).await {
                Ok(answer) => answers.push(answer),
                // What was done before it is answered; what comes behind it is not done.
                Err(PgWireError::UserError(info)) => {
                    answers.push(Response::Error(info));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Desk {
    type Statement = Command;
    type QueryParser = Reader;

    fn query_parser(&self) -> Arc<Reader> {
        Arc::new(Reader)
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Command>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Command>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let command = &portal.statement.statement;
        if portal.parameter_len() > 0 {
            return Err(refusal::raise(refusal::parameters(portal.parameter_len())));
        }
        let columns = command.columns().len();
        if let Format::Individual(codes) = &portal.result_column_format
            && codes.len() != columns
        {
            return Err(refusal::raise(refusal::formats(codes.len(), columns)));
        }
        self.run(command, &portal.result_column_format).await
    }
}

/// Prepares statements.
#[derive(Debug)]
pub(super) struct Reader;

#[async_trait]
impl QueryParser for Reader {
    type Statement = Command;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Command>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        if !types.is_empty() {
            return Err(refusal::raise(refusal::parameters(types.len())));
        }
        parse_one(sql).map_err(|why| refusal::raise(refusal::not_understood(&why)))
    }

    fn get_parameter_types(&self, _statement: &Command) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(
        &self,
        statement: &Command,
        formats: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        Ok(answer::fields(statement.columns(), formats.unwrap_or(&Format::UnifiedText)))
    }
}
