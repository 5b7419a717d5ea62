//! What `top` knows, and how a key or an answer changes it: values in, values out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::report::{Database, Report, Sample};
use super::input::Key;
use crate::clock::Moment;

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// Somebody pressed a key.
    Key(Key),
    /// The proxy was asked, and this came of it.
    Asked(Result<Report, String>),
}

/// What is to be done now, beside drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Stay,
    /// Ask the proxy at once.
    Ask,
    /// End.
    End,
}

/// The proxy gives no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) since: Moment,
    pub(super) why: String,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct State {
    /// Who is asked.
    pub(super) place: String,
    /// The last answer.
    pub(super) sample: Option<Sample>,
    /// Set while there is no answer.
    pub(super) silence: Option<Silence>,
    /// Since when time stands still here.
    pub(super) paused: Option<Moment>,
    /// The keys are shown.
    pub(super) help: bool,
    /// Transactions a second, by database: known from the second answer on.
    rates: BTreeMap<String, f64>,
    /// The database that was chosen; by name, so that others may come and go.
    chosen: Option<String>,
}

impl State {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            sample: None,
            silence: None,
            paused: None,
            help: false,
            rates: BTreeMap::new(),
            chosen: None,
        }
    }

    /// Takes in what happened at `now`.
    pub(super) fn step(&mut self, input: Input, now: Moment) -> Next {
        match input {
            Input::Key(key) => self.key(key, now),
            Input::Asked(asked) => {
                if self.paused.is_none() {
                    self.hear(asked, now);
                }
                Next::Stay
            }
        }
    }

    fn key(&mut self, key: Key, now: Moment) -> Next {
        match key {
            Key::Quit => return Next::End,
            Key::Escape if !self.help => return Next::End,
            Key::Escape => self.help = false,
            Key::Help => self.help = !self.help,
            Key::Next => {
                self.choose(|at, count| if at.saturating_add(1) < count { at.saturating_add(1) } else { 0 })
            }
            Key::Previous => self.choose(|at, count| at.checked_sub(1).unwrap_or(count.saturating_sub(1))),
            Key::Pause if self.paused.take().is_some() => return Next::Ask,
            Key::Pause => self.paused = Some(now),
        }
        Next::Stay
    }

    fn choose(&mut self, to: impl Fn(usize, usize) -> usize) {
        let at = to(self.index(), self.databases().len());
        self.chosen = self.databases().get(at).map(|database| database.database.clone());
    }

    fn hear(&mut self, asked: Result<Report, String>, now: Moment) {
        match asked {
            Ok(report) => {
                self.silence = None;
                let sample = Sample { at: now, report };
                self.rates = self.sample.as_ref().map(|last| rates(last, &sample)).unwrap_or_default();
                self.sample = Some(sample);
            }
            Err(why) => {
                let since = self.silence.as_ref().map_or(now, |silence| silence.since);
                self.silence = Some(Silence { since, why });
                self.rates.clear();
            }
        }
    }

    /// The databases of the last answer.
    pub(super) fn databases(&self) -> &[Database] {
        self.sample.as_ref().map_or(&[], |sample| &sample.report.databases)
    }

    /// Which of them is chosen: the first, unless one was and is still there.
    pub(super) fn index(&self) -> usize {
        let chosen = |name: &String| self.databases().iter().position(|database| database.database == *name);
        self.chosen.as_ref().and_then(chosen).unwrap_or(0)
    }

    /// The database that is chosen.
    pub(super) fn chosen(&self) -> Option<&Database> {
        self.databases().get(self.index())
    }

    /// Transactions a second; `None`: not known yet.
    pub(super) fn rate(&self, database: &str) -> Option<f64> {
        self.rates.get(database).copied()
    }

    /// How old the last answer is at `now`; it does not age while paused.
    pub(super) fn age(&self, now: Moment) -> Duration {
        let now = self.paused.unwrap_or(now);
        self.sample.as_ref().map(|sample| now.since(sample.at)).unwrap_or_default()
    }
}

/// Transactions a second between two answers. Nothing is known across a restart, nor when another
/// number of data threads was counted.
fn rates(last: &Sample, now: &Sample) -> BTreeMap<String, f64> {
    let seconds = now.at.since(last.at).as_secs_f64();
    // Whole seconds are told, and an answer takes one at most.
    let restarted = now.report.uptime_seconds + 2.0 < last.report.uptime_seconds + seconds;
    if seconds <= 0.0 || restarted || now.report.threads != last.report.threads {
        return BTreeMap::new();
    }
    let rate = |database: &Database| {
        let before = last.report.databases.iter().find(|before| before.database == database.database)?;
        let count = database.transactions.checked_sub(before.transactions)?;
        // Nobody commits four billion transactions between two looks.
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        Some((database.database.clone(), count / seconds))
    };
    now.report.databases.iter().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn report(uptime: f64, databases: &[(&str, u64)]) -> Report {
        let database = |(name, transactions): &(&str, u64)| Database {
            database: (*name).to_owned(),
            transactions: *transactions,
            ..Database::default()
        };
        let databases = databases.iter().map(database).collect();
        Report { ready: true, uptime_seconds: uptime, databases, ..Report::default() }
    }

    fn heard(state: &mut State, uptime: f64, databases: &[(&str, u64)], at: u64) {
        assert_eq!(state.step(Input::Asked(Ok(report(uptime, databases))), second(at)), Next::Stay);
    }

    fn state() -> State {
        State::new("http://127.0.0.1:9127".to_owned())
    }

    #[test]
    fn transactions_a_second_come_from_two_answers_of_one_run() {
        let mut state = state();
        heard(&mut state, 10.0, &[("app", 100)], 10);
        assert_eq!(state.rate("app"), None);
        heard(&mut state, 12.0, &[("app", 350), ("new", 7)], 12);
        assert_eq!((state.rate("app"), state.rate("new")), (Some(125.0), None));
        // Restarted while nobody looked, then with more transactions or with fewer.
        heard(&mut state, 30.0, &[("app", 350)], 60);
        assert_eq!(state.rate("app"), None);
        heard(&mut state, 1.0, &[("app", 900)], 61);
        assert_eq!(state.rate("app"), None);
        heard(&mut state, 3.0, &[("app", 2)], 63);
        assert_eq!(state.rate("app"), None);
        heard(&mut state, 3.0, &[("app", 2)], 63);
        assert_eq!(state.rate("app"), None, "no time has passed");
        // A thread that was missing is counted again.
        let mut blocked = report(5.0, &[("app", 2)]);
        blocked.threads.blocked = vec![1];
        state.step(Input::Asked(Ok(blocked)), second(65));
        assert_eq!(state.rate("app"), None);
    }

    #[test]
    fn keys_choose_a_database_and_go_round() {
        let mut state = state();
        assert_eq!((state.step(Input::Key(Key::Next), second(0)), state.index()), (Next::Stay, 0));
        heard(&mut state, 1.0, &[("a", 0), ("b", 0), ("c", 0)], 1);
        for (key, expected) in
            [(Key::Next, "b"), (Key::Next, "c"), (Key::Next, "a"), (Key::Previous, "c"), (Key::Previous, "b")]
        {
            assert_eq!(state.step(Input::Key(key), second(1)), Next::Stay);
            assert_eq!(state.chosen().unwrap().database, expected);
        }
        // The choice follows the name; without it the first is chosen.
        heard(&mut state, 2.0, &[("b", 0), ("c", 0)], 2);
        assert_eq!((state.index(), state.chosen().unwrap().database.as_str()), (0, "b"));
        heard(&mut state, 3.0, &[("d", 0)], 3);
        assert_eq!(state.chosen().unwrap().database, "d");
    }

    #[test]
    fn a_pause_stops_time_and_answers_and_its_end_asks() {
        let mut state = state();
        heard(&mut state, 1.0, &[("app", 0)], 10);
        assert_eq!(state.age(second(13)), Duration::from_secs(3));
        assert_eq!(state.step(Input::Key(Key::Pause), second(14)), Next::Stay);
        assert_eq!(state.age(second(99)), Duration::from_secs(4));
        heard(&mut state, 9.0, &[("other", 0)], 20);
        assert_eq!(state.chosen().unwrap().database, "app");
        assert_eq!(state.step(Input::Key(Key::Pause), second(30)), Next::Ask);
        heard(&mut state, 20.0, &[("other", 0)], 31);
        assert_eq!(state.chosen().unwrap().database, "other");
    }

    #[test]
    fn silence_keeps_what_was_seen_and_ends_with_an_answer() {
        let mut state = state();
        heard(&mut state, 1.0, &[("app", 0)], 1);
        for at in [3, 5] {
            state.step(Input::Asked(Err(format!("refused {at}"))), second(at));
        }
        assert_eq!(state.silence, Some(Silence { since: second(3), why: "refused 5".into() }));
        assert_eq!(state.chosen().unwrap().database, "app");
        heard(&mut state, 7.0, &[("app", 0)], 7);
        assert_eq!((state.silence.is_none(), state.rate("app")), (true, Some(0.0)));
    }

    #[test]
    fn escape_closes_the_help_first() {
        let mut state = state();
        for (key, next, help) in [
            (Key::Help, Next::Stay, true),
            (Key::Escape, Next::Stay, false),
            (Key::Help, Next::Stay, true),
            (Key::Help, Next::Stay, false),
            (Key::Escape, Next::End, false),
            (Key::Quit, Next::End, false),
        ] {
            assert_eq!((state.step(Input::Key(key), second(0)), state.help), (next, help), "{key:?}");
        }
    }
}
