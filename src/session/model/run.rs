//! What statements do in a model of PostgreSQL: settings, prepared statements, transactions.
//!
//! Sources: `guc.c`, `prepare.c` and `xact.c` of PostgreSQL 15.

use super::server::{Done, Server, fail};
use super::sql::{Part, Sql};

impl Server {
    /// Executes; `alone`: not in a Query with others.
    pub(super) fn run(&mut self, sql: &Sql, alone: bool) -> Done {
        let tag = match sql {
            Sql::Constant(value) => self.row(&[Some(value.clone())]),
            Sql::DivideByZero => return fail("22012", "division by zero"),
            Sql::Current(name) => self.row(&[self.settings.value(name)]),
            Sql::IsSetting(name, value) => {
                let is = self.settings.value(name).as_ref() == Some(value);
                self.row(&[Some(if is { "t" } else { "f" }.to_owned())])
            }
            Sql::SetConfig(name, value) => {
                self.set(name, value, false)?;
                self.row(&[Some(value.clone())])
            }
            Sql::Restore(name, value) => {
                if self.settings.is_as_it_began(name) {
                    self.set(name, value, false)?;
                    self.row(&[Some(value.clone())]);
                }
                "SELECT"
            }
            Sql::Show(name) => {
                self.row(&[self.settings.value(name)]);
                "SHOW"
            }
            Sql::Set(name, value, local) => {
                if *local && !self.block.as_ref().is_some_and(|block| block.explicit) {
                    self.warn("25P01", "SET LOCAL can only be used in transaction blocks");
                }
                self.set(name, value, *local)?;
                "SET"
            }
            Sql::Reset(name) => {
                self.settings.reset(name);
                "RESET"
            }
            Sql::ResetAll => {
                self.settings.reset_all();
                "RESET"
            }
            Sql::DiscardAll => {
                let block = self.start();
                if block.explicit || !alone {
                    return fail("25001", "DISCARD ALL cannot run inside a transaction block");
                }
                if block.pipelined {
                    return fail("25001", "DISCARD ALL cannot be executed within a pipeline");
                }
                self.settings.reset_all();
                self.statements.clear();
                "DISCARD ALL"
            }
            Sql::Prepare(name, inner) => {
                self.store(name, Vec::new(), Some((**inner).clone()))?;
                "PREPARE"
            }
            Sql::Execute(name) => {
                let Some(inner) = self.fetch(name)? else { return fail("42601", "nothing to execute") };
                self.can_be_planned(&inner)?;
                return self.run(&inner, false);
            }
            Sql::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Sql::Deallocate(Some(name)) => {
                self.fetch(name)?;
                self.statements.remove(name);
                "DEALLOCATE"
            }
            Sql::Question(parts) => {
                parts.iter().for_each(|part| self.answer(part));
                "SELECT"
            }
            control => return self.control(control),
        };
        self.complete(tag);
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, local: bool) -> Done {
        if self.settings.set(name, value, local) {
            return Ok(());
        }
        fail("42704", format!("unrecognized configuration parameter \"{name}\""))
    }

    fn answer(&mut self, part: &Part) {
        match part {
            Part::Named(name) => {
                self.row(&[Some(name.clone()), self.settings.value(name)]);
            }
            Part::Listed => {
                let listed: Vec<_> = self
                    .settings
                    .listed()
                    .map(|(name, value)| [Some(name.to_owned()), Some(value)])
                    .collect();
                for row in &listed {
                    self.row(row);
                }
            }
            Part::Ties { prepared } => {
                let own = self.statements.keys().any(|name| !name.starts_with("leasehold_"));
                let ties = if *prepared && own { "[prepared]" } else { "" };
                self.row(&[Some("#ties".to_owned()), Some(ties.to_owned())]);
            }
        }
    }

    /// What begins and ends transactions.
    fn control(&mut self, sql: &Sql) -> Done {
        let block = self.start();
        let explicit = block.explicit;
        let tag = match sql {
            Sql::Begin => {
                block.explicit = true;
                if explicit {
                    self.warn("25001", "there is already a transaction in progress");
                }
                "BEGIN"
            }
            Sql::Commit | Sql::Rollback => {
                let good = *sql == Sql::Commit && !block.failed;
                if !good {
                    let before = block.before.clone();
                    self.settings.roll_back(&before);
                }
                if !explicit {
                    self.warn("25P01", "there is no transaction in progress");
                }
                self.commit();
                if good { "COMMIT" } else { "ROLLBACK" }
            }
            Sql::Savepoint(_) if !explicit => {
                return fail("25P01", "SAVEPOINT can only be used in transaction blocks");
            }
            Sql::Savepoint(name) => {
                let now = self.settings.clone();
                self.start().savepoints.push((name.clone(), now));
                "SAVEPOINT"
            }
            Sql::RollbackTo(_) if !explicit => {
                return fail("25P01", "ROLLBACK TO SAVEPOINT can only be used in transaction blocks");
            }
            Sql::RollbackTo(name) => {
                let Some(at) = block.savepoints.iter().rposition(|(known, _)| known == name) else {
                    return fail("3B001", format!("savepoint \"{name}\" does not exist"));
                };
                block.savepoints.truncate(at + 1);
                block.failed = false;
                let before = block.savepoints[at].1.clone();
                self.settings.roll_back(&before);
                self.portals.retain(|_, portal| portal.depth <= at);
                "ROLLBACK"
            }
            _ => return fail("XX000", "not of the vocabulary"),
        };
        self.complete(tag);
        Ok(())
    }
}
