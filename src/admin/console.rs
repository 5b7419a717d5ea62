//! The console as the rest of the process knows it, and its handlers for pgwire.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

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
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::command::{Command, Name, Show, parameter, parse, parse_one};
use super::show::{Rotated, rotation, rotation_columns};
use super::table::{Column, Kind, Table, Value};
use super::view::{View, Watched};
use super::{answer, client, refusal};
use crate::credentials::Keeper;
use crate::pool::{Pool, ShardPort};
use crate::session::{ClientPort, ConsoleClient};

/// Clients of the console at a time: they are not counted against `max_clients`.
const MOST_CLIENTS: usize = 100;
/// How long a last word may take to be written.
const LAST_WORD: Duration = Duration::from_secs(5);

/// One database of the console.
#[derive(Debug)]
pub struct ConsolePool {
    /// Its connections.
    pub pool: Arc<Pool>,
    /// Its users.
    pub keeper: Keeper,
}

/// The admin console of one proxy.
#[derive(Debug)]
pub struct Console {
    desk: Arc<Desk>,
}

impl Console {
    /// A console that shows these. `pools` are in the order of their indices, `shards` and
    /// `clients` in that of the data threads.
    #[must_use]
    pub fn new(pools: Vec<ConsolePool>, shards: Vec<ShardPort>, clients: Vec<ClientPort>) -> Self {
        Self { desk: Arc::new(Desk(Watched { pools, shards, clients })) }
    }

    /// Serves the clients that sessions hand over, on the current runtime, until every session's
    /// end of the channel is gone and the last client has left. Dropping the future closes the
    /// connections of its clients.
    pub async fn serve(self, mut arrivals: mpsc::UnboundedReceiver<ConsoleClient>) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                arrived = arrivals.recv() => match arrived {
                    Some(client) if clients.len() < MOST_CLIENTS => {
                        clients.spawn(serve(client, Arc::clone(&self.desk)));
                    }
                    Some(client) => {
                        clients.spawn(refuse(client));
                    }
                    None => break,
                },
                Some(_) = clients.join_next(), if !clients.is_empty() => {}
            }
        }
        while clients.join_next().await.is_some() {}
    }
}

async fn serve(client: ConsoleClient, desk: Arc<Desk>) {
    let user = client.params.get("user").unwrap_or("").to_owned();
    debug!(%user, "console client in");
    let end = Box::pin(client::serve(client, desk)).await;
    debug!(%user, error = end.err().map(|error| error.to_string()), "console client out");
}

async fn refuse(client: ConsoleClient) {
    let Ok(mut stream) = client.stream.attach() else { return };
    let _ = timeout(LAST_WORD, async {
        stream.write_all(&refusal::too_many(MOST_CLIENTS).encode()).await?;
        stream.shutdown().await
    })
    .await;
}

/// Carries out commands; what pgwire calls.
#[derive(Debug)]
pub(super) struct Desk(Watched);

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
                // No shard has to be asked for what is always the same.
                let fixed = matches!(show, Show::Version | Show::Help);
                let view = if fixed { View::empty() } else { self.0.look().await };
                answer::rows(&show.table(&view), "SHOW", formats)
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

    async fn rotate(&self, name: Option<&Name>) -> Result<Table, ErrorInfo> {
        let only = match name {
            None => None,
            Some(name) => Some(name.find(self.0.names()).ok_or_else(|| {
                let known: Vec<&str> = self.0.names().collect();
                refusal::unknown_database(&name.text, &known)
            })?),
        };
        let meant =
            self.0.pools.iter().filter(|each| only.is_none_or(|only| each.pool.settings().name == only));
        let answers = meant.map(|each| async move {
            let accepted = each.keeper.rotate().await;
            let database = each.pool.settings().name.clone();
            tracing::info!(pool = %database, accepted, "rotation asked for at the console");
            Rotated { database, accepted, stopping: each.keeper.snapshot().stopping }
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
