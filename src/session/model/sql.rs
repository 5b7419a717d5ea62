//! The texts that a model of PostgreSQL understands: the vocabulary of the test, and what a
//! session asks on its own behalf, told by its shape.

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sql {
    /// SELECT of a constant, as it is written.
    Constant(String),
    /// Fails when it is planned.
    DivideByZero,
    Current(String),
    /// Whether a setting is this.
    IsSetting(String, String),
    SetConfig(String, String),
    /// A question of Leasehold's own: the same if the setting is as the server began.
    Restore(String, String),
    Show(String),
    /// Name, value, and whether for the transaction only.
    Set(String, String, bool),
    Reset(String),
    ResetAll,
    DiscardAll,
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Prepare(String, Box<Sql>),
    Execute(String),
    /// `None`: all.
    Deallocate(Option<String>),
    /// A question of Leasehold's own: the SELECTs of its UNION.
    Question(Vec<Part>),
}

/// One SELECT of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Named(String),
    /// From `pg_settings`.
    Listed,
    /// Whether there are prepared statements of the client's own, if that is asked.
    Ties {
        prepared: bool,
    },
}

impl Sql {
    /// Whether it is allowed in a transaction that has failed.
    pub(super) fn is_exit(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::RollbackTo(_))
    }

    /// Whether it begins or ends a transaction or a part of it.
    pub(super) fn is_control(&self) -> bool {
        self.is_exit() || matches!(self, Self::Begin | Self::Savepoint(_))
    }

    /// What its rows' columns are called; `None`: it has no rows.
    pub(super) fn columns(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Constant(_) | Self::DivideByZero | Self::IsSetting(..) => Some(&["?column?"]),
            Self::Current(_) => Some(&["current_setting"]),
            Self::SetConfig(..) | Self::Restore(..) => Some(&["set_config"]),
            Self::Show(name) if name == "timezone" => Some(&["TimeZone"]),
            Self::Show(_) => Some(&["application_name"]),
            Self::Question(_) => Some(&["?column?", "current_setting"]),
            _ => None,
        }
    }
}

/// Reads a text; `None`: a syntax error.
pub(super) fn read(text: &str) -> Option<Vec<Sql>> {
    split(text, ';').iter().map(|part| part.trim()).filter(|part| !part.is_empty()).map(statement).collect()
}

/// Splits where no quotes are open.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    let mut parts = text.split(|c| {
        quoted ^= c == '\'';
        c == at && !quoted
    });
    parts.by_ref().collect()
}

fn statement(text: &str) -> Option<Sql> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let name = |text: &str| text.trim_matches('"').replace("\".\"", ".").to_lowercase();
    let values = literals(text);
    let value = |nth: usize| values.get(nth).cloned();
    Some(match words[..] {
        ["SELECT", "1/0"] => Sql::DivideByZero,
        ["SELECT", first, ..] if first.contains("set_config(") && text.contains(" WHERE ") => {
            Sql::Restore(value(0)?.to_lowercase(), value(1)?)
        }
        ["SELECT", first, ..] if first.contains("set_config(") => {
            Sql::SetConfig(value(0)?.to_lowercase(), value(1)?)
        }
        ["SELECT", first, .., "DISTINCT", "FROM", _] if first.starts_with("current_setting(") => {
            Sql::IsSetting(value(0)?.to_lowercase(), value(1)?)
        }
        ["SELECT", first] if first.starts_with("current_setting(") => Sql::Current(value(0)?.to_lowercase()),
        ["SELECT", ..] if text.contains("pg_catalog.") || text.contains("'#ties'") => {
            Sql::Question(text.split(" UNION ALL ").map(part).collect::<Option<_>>()?)
        }
        ["SELECT", constant] => Sql::Constant(constant.trim_matches('\'').to_owned()),
        ["SHOW", setting] => Sql::Show(name(setting)),
        ["SET", "TIME", "ZONE", _] => Sql::Set("timezone".to_owned(), value(0)?, false),
        ["SET", "LOCAL", setting, "=", _] => Sql::Set(name(setting), value(0)?, true),
        ["SET", setting, "=", _] => Sql::Set(name(setting), value(0)?, false),
        ["RESET", "ALL"] => Sql::ResetAll,
        ["RESET", setting] => Sql::Reset(name(setting)),
        ["DISCARD", "ALL"] => Sql::DiscardAll,
        ["BEGIN"] => Sql::Begin,
        ["COMMIT"] => Sql::Commit,
        ["ROLLBACK"] => Sql::Rollback,
        ["SAVEPOINT", savepoint] => Sql::Savepoint(savepoint.to_owned()),
        ["ROLLBACK", "TO", savepoint] => Sql::RollbackTo(savepoint.to_owned()),
        ["DEALLOCATE", "ALL"] => Sql::Deallocate(None),
        ["DEALLOCATE", prepared] => Sql::Deallocate(Some(prepared.to_owned())),
        ["EXECUTE", prepared] => Sql::Execute(prepared.to_owned()),
        ["PREPARE", prepared, "AS", ..] => {
            let (_, inner) = text.split_once(" AS ")?;
            Sql::Prepare(prepared.to_owned(), Box::new(statement(inner)?))
        }
        _ => return None,
    })
}

fn part(text: &str) -> Option<Part> {
    if text.contains("FROM pg_catalog.pg_settings") {
        Some(Part::Listed)
    } else if text.starts_with("SELECT '#ties'") {
        Some(Part::Ties { prepared: text.contains("pg_prepared_statements") })
    } else {
        text.contains("pg_catalog.current_setting(")
            .then(|| literals(text).first().cloned().map(Part::Named))?
    }
}

/// The string constants in a text.
fn literals(text: &str) -> Vec<String> {
    // What is doubled inside of one reads as the end of one and the beginning of another.
    let parts: Vec<&str> = text.split('\'').collect();
    let mut found: Vec<String> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if at % 2 == 0 {
            continue;
        }
        match found.last_mut() {
            Some(last) if at > 1 && parts[at - 1].is_empty() => {
                last.push('\'');
                last.push_str(part);
            }
            _ => found.push((*part).to_owned()),
        }
    }
    found
}
