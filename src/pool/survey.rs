//! What is asked of the servers while a user serves: who of the users is still there, and whether each
//! host in use still fits.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::watch::{Silence, Watch};
use crate::credentials::{Generation, SurveyError, UserState};
use crate::net::Stream;
use crate::upstream::{DialError, STATE_QUERY, ServerState, Target, dial, dial_host, simple_query};
use crate::wire::quote_literal;

/// So many surveys in a row must fail before it is believed that a host of several is gone, or that
/// none of those that answer will know the user.
const BELIEVED_AFTER: u32 = 3;

/// What one host says.
#[derive(Debug)]
struct Word {
    rows: Vec<Vec<Option<String>>>,
    /// Not known where it was not asked for.
    state: Option<ServerState>,
}

/// One generation's questions.
struct Inquiry<'a> {
    watch: &'a Watch,
    target: &'a Target,
    generation: &'a Generation,
    users: &'a [String],
    sql: String,
    /// Of one step, where there are several hosts; else only the whole is bounded.
    limit: Duration,
}

impl Watch {
    /// Asks pg_roles as the generation's user on the hosts that are in use, logging in again if need be,
    /// and what these hosts are; the states are in the order of the users. Each step takes at most
    /// `patience`; the whole is bounded by the caller. One that is dropped has lost connections, and no more.
    pub(super) async fn survey(
        &self,
        target: &Target,
        generation: &Generation,
        users: &[String],
        mut hosts: Vec<usize>,
        patience: Duration,
    ) -> Result<Vec<UserState>, SurveyError> {
        let settings = target.settings();
        let several = settings.hosts.len() > 1;
        let inquiry = Inquiry {
            watch: self,
            target,
            generation,
            users,
            sql: query(users, several || settings.target_session_attrs.can_exclude()),
            limit: if several { patience } else { settings.connect_timeout },
        };
        self.silence().unfit.clear();
        hosts.extend(self.hosts(generation.id()));
        hosts.sort_unstable();
        hosts.dedup();
        let asked = hosts.iter().map(|host| inquiry.ask(*host));
        let answers: Vec<(usize, Result<Word, DialError>)> =
            hosts.iter().copied().zip(join_all(asked).await).collect();
        inquiry.conclude(answers).await
    }

    /// The hosts where no connection is to stay, as the latest survey found, whether it came to its end
    /// or not; and those that were not so before.
    pub(super) fn unfit(&self) -> (Vec<usize>, Vec<usize>) {
        let mut silence = self.silence();
        let unfit = silence.unfit.clone();
        let before = std::mem::replace(&mut silence.told, unfit.clone());
        let news = unfit.iter().copied().filter(|host| !before.contains(host)).collect();
        (unfit, news)
    }

    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inquiry<'_> {
    /// Asks one host, over the connection that is kept or a new one.
    async fn ask(&self, host: usize) -> Result<Word, DialError> {
        let id = self.generation.id();
        if let Some(stream) = self.watch.take(id, host)
            && let Ok((Some(stream), Ok(answer))) =
                timeout(self.limit, Box::pin(simple_query(stream, &self.sql))).await
        {
            return Ok(self.heard(host, Some(stream), answer.rows));
        }
        self.ask_anew(host).await
    }

    async fn ask_anew(&self, host: usize) -> Result<Word, DialError> {
        let login = self.generation.login();
        let connected = dial_host(self.target, host, self.limit, &login.user, &login.password).await?;
        self.put(host, connected.stream).await
    }

    async fn put(&self, host: usize, stream: Stream) -> Result<Word, DialError> {
        let asked = timeout(self.limit, Box::pin(simple_query(stream, &self.sql))).await;
        let (stream, answer) = asked.map_err(|_| DialError::Timeout(self.limit))?;
        Ok(self.heard(host, stream, answer?.rows))
    }

    /// Keeps the connection, unless the host does not fit.
    fn heard(&self, host: usize, stream: Option<Stream>, mut rows: Vec<Vec<Option<String>>>) -> Word {
        let state = rows.last().and_then(|row| ServerState::from_row(row));
        if state.is_some() {
            rows.pop();
        }
        let word = Word { rows, state };
        if let Some(stream) = stream.filter(|_| !self.is_unfit(&word)) {
            self.watch.keep(self.generation.id(), host, stream);
        }
        word
    }

    fn is_unfit(&self, word: &Word) -> bool {
        word.state.is_some_and(|state| self.target.settings().target_session_attrs.excludes(state))
    }

    async fn conclude(
        &self,
        answers: Vec<(usize, Result<Word, DialError>)>,
    ) -> Result<Vec<UserState>, SurveyError> {
        let gone = self.count_silence(&answers);
        let asked: Vec<usize> = answers.iter().map(|(host, _)| *host).collect();
        let mut words = Vec::new();
        let mut fits = false;
        for (host, answer) in answers {
            let Ok(word) = answer else { continue };
            match self.is_unfit(&word) {
                // At once: what comes next may take longer than there is time.
                true => self.watch.silence().unfit.push(host),
                false => fits = true,
            }
            words.push(word);
        }
        if !fits {
            match self.ask_where_it_fits().await {
                Ok(Some(word)) => {
                    fits = true;
                    words.push(word);
                }
                Ok(None) => return Ok(self.all_of_it_gone()),
                Err(error) if words.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        self.watch.silence().unknown = 0;
        if fits {
            self.watch.silence().unfit.extend(gone);
        }
        let states = judge(self.users, &words);
        if states.iter().all(|state| *state == UserState::Alive)
            || !words.iter().all(|word| word.state.is_some_and(|state| state.standby))
        {
            return Ok(states);
        }
        words.extend(self.ask_the_others(&asked).await);
        Ok(judge(self.users, &words))
    }

    /// Where new connections go. `None`: the user is known nowhere.
    async fn ask_where_it_fits(&self) -> Result<Option<Word>, SurveyError> {
        let failed = |error: DialError| SurveyError { message: error.to_string() };
        let login = self.generation.login();
        match dial(self.target, &login.user, &login.password, &[]).await {
            Ok(connected) => self.put(connected.host, connected.stream).await.map(Some).map_err(failed),
            // It could log in when it was verified: now it is gone, locked or expired.
            Err(error) if is_unknown_everywhere(&error) => {
                let mut silence = self.watch.silence();
                silence.unknown = silence.unknown.saturating_add(1);
                // One that is silent may know it.
                let all_said_so = error.causes().all(DialError::is_unknown_user);
                if all_said_so || silence.unknown >= BELIEVED_AFTER { Ok(None) } else { Err(failed(error)) }
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn all_of_it_gone(&self) -> Vec<UserState> {
        let own = &self.generation.login().user;
        let gone = |user: &String| if user == own { UserState::Dropped } else { UserState::Alive };
        self.users.iter().map(gone).collect()
    }

    /// A standby may be late: what hosts say that were not asked.
    async fn ask_the_others(&self, asked: &[usize]) -> Vec<Word> {
        let others: Vec<usize> =
            (0..self.target.settings().hosts.len()).filter(|host| !asked.contains(host)).collect();
        let said = join_all(others.iter().map(|host| self.ask_anew(*host))).await;
        said.into_iter().filter_map(Result::ok).collect()
    }

    /// The hosts of several that could not be reached for some time.
    fn count_silence(&self, answers: &[(usize, Result<Word, DialError>)]) -> Vec<usize> {
        if self.target.settings().hosts.len() < 2 {
            return Vec::new();
        }
        let mut silence = self.watch.silence();
        let mut gone = Vec::new();
        for (host, answer) in answers {
            let count = silence.hosts.entry(*host).or_default();
            *count = match answer {
                Err(error) if error.is_unreachable() => count.saturating_add(1),
                _ => 0,
            };
            if *count >= BELIEVED_AFTER {
                self.target.note_silent(*host);
                gone.push(*host);
            }
        }
        gone
    }
}

/// Of the hosts some do not know the user, and the others cannot be reached.
fn is_unknown_everywhere(error: &DialError) -> bool {
    error.causes().any(DialError::is_unknown_user)
        && error.causes().all(|cause| cause.is_unknown_user() || cause.is_unreachable())
}

/// Allowed to every user; sees dropped, locked and expired ones, which `SELECT 1` does not.
fn query(users: &[String], with_state: bool) -> String {
    let names: Vec<String> = users.iter().map(|user| quote_literal(user)).collect();
    let roles = format!(
        "SELECT rolname, rolcanlogin, coalesce(rolvaliduntil <= now(), false) FROM pg_catalog.pg_roles \
         WHERE rolname IN ({})",
        names.join(", ")
    );
    match (users.is_empty(), with_state) {
        (true, _) => format!("{STATE_QUERY} /* pg_roles */"),
        (false, true) => format!("{roles}; {STATE_QUERY}"),
        (false, false) => roles,
    }
}

/// The word of a server that is no standby counts; of standbys, that of the one which knows the user.
fn judge(users: &[String], words: &[Word]) -> Vec<UserState> {
    let primary = words.iter().find(|word| word.state.is_none_or(|state| !state.standby));
    if let Some(word) = primary.or_else(|| words.first().filter(|_| words.len() == 1)) {
        return states(users, &word.rows);
    }
    let all: Vec<Vec<UserState>> = words.iter().map(|word| states(users, &word.rows)).collect();
    let of = |at: usize| {
        let mut said = all.iter().filter_map(|states| states.get(at).copied());
        let first = said.next().unwrap_or(UserState::Alive);
        if said.any(|state| state == UserState::Alive) { UserState::Alive } else { first }
    };
    (0..users.len()).map(of).collect()
}

fn states(users: &[String], rows: &[Vec<Option<String>>]) -> Vec<UserState> {
    let is = |field: Option<&Option<String>>, text: &str| matches!(field, Some(Some(value)) if value == text);
    users
        .iter()
        .map(|user| match rows.iter().find(|row| is(row.first(), user)) {
            None => UserState::Dropped,
            Some(row) if !is(row.get(1), "t") => UserState::NoLogin,
            Some(row) if is(row.get(2), "t") => UserState::Expired,
            Some(_) => UserState::Alive,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row(name: &str, login: &str, past: &str) -> Vec<Option<String>> {
        vec![Some(name.into()), Some(login.into()), Some(past.into())]
    }

    #[test]
    fn each_way_a_user_can_end_is_told_apart() {
        let rows = [row("b", "f", "f"), row("a", "t", "f"), row("c", "t", "t")];
        assert_eq!(
            states(&users(&["a", "b", "c", "d"]), &rows),
            [UserState::Alive, UserState::NoLogin, UserState::Expired, UserState::Dropped]
        );
        assert!(query(&users(&["o'x"]), false).ends_with("IN ('o''x')"));
        assert!(query(&users(&["a"]), true).ends_with(STATE_QUERY));
        assert!(query(&[], true).starts_with(STATE_QUERY));
    }

    #[test]
    fn a_standby_that_is_late_does_not_end_a_user_and_a_primary_does() {
        use UserState::{Alive, Dropped};
        let word = |standby: bool, known: &[&str]| Word {
            rows: known.iter().map(|name| row(name, "t", "f")).collect(),
            state: Some(ServerState { standby, read_only: Some(standby) }),
        };
        let both = users(&["old", "new"]);
        for (words, expected) in [
            (vec![word(true, &["old"])], [Alive, Dropped]),
            (vec![word(true, &["old"]), word(true, &["old", "new"])], [Alive, Alive]),
            (vec![word(true, &["old"]), word(false, &["new"])], [Dropped, Alive]),
            (vec![word(true, &["old", "new"]), word(false, &["new"])], [Dropped, Alive]),
            (vec![word(false, &["old"]), word(true, &["old", "new"])], [Alive, Dropped]),
            (vec![word(true, &[]), word(true, &["new"])], [Dropped, Alive]),
        ] {
            assert_eq!(judge(&both, &words), expected, "{words:?}");
        }
        let unasked = Word { rows: vec![row("new", "t", "f")], state: None };
        assert_eq!(judge(&both, &[unasked]), [Dropped, Alive]);
    }

    #[test]
    fn a_user_is_unknown_only_where_nobody_who_answers_knows_it() {
        let refused = |sqlstate: &str| {
            let fields = crate::wire::ErrorFields { sqlstate: sqlstate.to_owned(), ..Default::default() };
            DialError::Refused(Box::new(fields))
        };
        let silent = || DialError::Share(Duration::from_secs(1));
        let unfit = || DialError::Unfit { is: "is a primary", wanted: "standby" };
        for (causes, unknown, late) in [
            (vec![refused("28P01")], true, false),
            (vec![refused("28P01"), refused("28000")], true, false),
            (vec![silent(), refused("28P01")], true, false),
            (vec![unfit(), refused("28P01")], false, true),
            (vec![refused("57P03"), refused("28P01")], false, false),
            (vec![silent(), silent()], false, false),
            (vec![unfit(), silent()], false, false),
        ] {
            let hosts = causes.into_iter().map(|cause| ("db:5432".to_owned(), cause)).collect();
            let error = DialError::Hosts(hosts);
            assert_eq!((is_unknown_everywhere(&error), error.is_late()), (unknown, late), "{error}");
        }
    }
}
