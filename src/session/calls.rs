//! Functions of the database that leave state in their connection: whoever calls one may be tied.

use super::messages::split_name;
use super::scan::{Meaning, Verb};
use super::statements::Statements;
use super::virtual_session::{House, VirtualSession};
use crate::pool::{Functions, Ties};

impl Statements {
    /// What a statement of the protocol calls; without a name, the unnamed one.
    fn called_by(&self, name: &[u8], functions: &Functions) -> Ties {
        let body = if name.is_empty() {
            self.unnamed.as_ref().map(|unnamed| &unnamed.body[..])
        } else {
            self.names.get(name).map(|text| text.body())
        };
        functions.called_in(query_of(body.unwrap_or_default()))
    }
}

impl VirtualSession {
    /// A text is executed by itself.
    pub(super) fn query_calls(&mut self, text: &[u8], meaning: &Meaning, house: House<'_>) {
        let Some(functions) = house.database.functions() else { return };
        let mut ties = functions.called_in(text);
        if meaning.ties.has(Ties::PREPARED) {
            // Called when that is executed, by whatever name.
            self.statements.by_sql.ties.add(ties);
        }
        for used in meaning.names.iter().filter(|used| used.verb == Verb::Execute) {
            ties.add(self.statements.called_by(&used.name, &functions));
        }
        self.doubt.tied(ties);
    }

    /// The body of a Parse that is not in the books if statements were prepared by SQL.
    pub(super) fn parse_calls(&mut self, body: &[u8], house: House<'_>) {
        if self.statements.raw
            && let Some(functions) = house.database.functions()
            && let Some((_, rest)) = split_name(body)
        {
            self.statements.by_sql.ties.add(functions.called_in(query_of(rest)));
        }
    }

    /// A statement is bound.
    pub(super) fn bind_calls(&mut self, name: &[u8], house: House<'_>) {
        if let Some(functions) = house.database.functions() {
            self.doubt.tied(self.statements.called_by(name, &functions));
        }
    }
}

/// What stands before the NUL.
fn query_of(body: &[u8]) -> &[u8] {
    body.split(|byte| *byte == 0).next().unwrap_or_default()
}
