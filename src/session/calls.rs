//! Functions of the database that leave state in their connection: whoever calls one may be tied.

use super::lexer::{Lexer, Token};
use super::messages::split_name;
use super::scan::{Meaning, Verb};
use super::settings::Doubt;
use super::statements::Statements;
use super::virtual_session::{House, VirtualSession};
use crate::pool::{Functions, Leaves, Ties};

impl Doubt {
    /// A text is executed that calls what leaves this behind.
    fn called(&mut self, text: &[u8], left: &Leaves) {
        self.tied(left.ties);
        left.names.iter().for_each(|name| self.name(name));
        if left.settings {
            self.anything();
            // The function may be told which one to set.
            let mut lexer = Lexer::new(text);
            while let Some((_, token)) = lexer.next() {
                if let Token::Text(value) = token {
                    self.candidate(value);
                }
            }
        }
    }
}

impl Statements {
    /// The text of a statement of the protocol; without a name, of the unnamed one.
    fn text_of(&self, name: &[u8]) -> &[u8] {
        let body = if name.is_empty() {
            self.unnamed.as_ref().map(|unnamed| &unnamed.body[..])
        } else {
            self.names.get(name).map(|text| text.body())
        };
        query_of(body.unwrap_or_default())
    }
}

impl VirtualSession {
    /// A text is executed by itself.
    pub(super) fn query_calls(&mut self, text: &[u8], meaning: &Meaning, house: House<'_>) {
        let Some(functions) = house.database.functions() else { return };
        let left = functions.called_in(text);
        if meaning.ties.has(Ties::PREPARED) {
            // Called when that is executed, by whatever name.
            self.statements.by_sql.calls(&left);
        }
        self.doubt.called(text, &left);
        for used in meaning.names.iter().filter(|used| used.verb == Verb::Execute) {
            if self.statement_calls(&used.name, &functions) {
                // Which one to set may stand here.
                self.doubt.called(text, &Leaves { settings: true, ..Leaves::default() });
            }
        }
    }

    fn statement_calls(&mut self, name: &[u8], functions: &Functions) -> bool {
        let text = self.statements.text_of(name);
        let left = functions.called_in(text);
        self.doubt.called(text, &left);
        left.settings
    }

    /// The body of a Parse that is not in the books if statements were prepared by SQL.
    pub(super) fn parse_calls(&mut self, body: &[u8], house: House<'_>) {
        if self.statements.raw
            && let Some(functions) = house.database.functions()
            && let Some((_, rest)) = split_name(body)
        {
            self.statements.by_sql.calls(&functions.called_in(query_of(rest)));
        }
    }

    /// A statement is bound. Whether what it calls may change any setting.
    pub(super) fn bind_calls(&mut self, name: &[u8], house: House<'_>) -> bool {
        house.database.functions().is_some_and(|functions| self.statement_calls(name, &functions))
    }

    /// Something is executed that is not read.
    pub(super) fn unread(&mut self) {
        self.doubt.anything();
        Ties::ASKED.into_iter().for_each(|tie| self.doubt.tied(tie));
    }
}

/// What stands before the NUL.
fn query_of(body: &[u8]) -> &[u8] {
    body.split(|byte| *byte == 0).next().unwrap_or_default()
}
