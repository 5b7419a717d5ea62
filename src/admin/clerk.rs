//! The handlers that pgwire calls, for one client of the console.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::Sink;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, Response};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;

use super::command::{Command, parse, parse_one};
use super::desk::Desk;
use super::rights::Origin;
use super::{answer, refusal};

/// Takes one client's commands to the desk; what pgwire calls.
#[derive(Debug)]
pub(super) struct Clerk {
    /// Who carries them out.
    pub(super) desk: Arc<Desk>,
    /// Where the client comes from.
    pub(super) origin: Origin,
}

#[async_trait]
impl SimpleQueryHandler for Clerk {
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
            match self.desk.run(command, &Format::UnifiedText, self.origin).await {
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
impl ExtendedQueryHandler for Clerk {
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
        self.desk.run(command, &portal.result_column_format, self.origin).await
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
