//! The books of a virtual session against a model of PostgreSQL: several clients share a few
//! upstreams, and each gets what a server of its own would have said.
//!
//! Everything is the real relay but what it stands on: streams in memory instead of sockets, models
//! of PostgreSQL instead of servers, and a pool to which connections are brought. What is said, in what order
//! and in what pieces, and which upstream comes next, is drawn. The same against real servers, slower and
//! coarser: `tests/modes/together.rs`.

mod run;
mod server;
mod settings;
mod sql;
mod words;
mod world;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use words::{Word, words};
use world::World;

const CLIENTS: usize = 3;
/// What a client may say in its startup packet.
const STARTUP: &[(&str, &str)] =
    &[("TimeZone", "Europe/Paris"), ("application_name", "mine"), ("app.tenant", "b")];

#[derive(Debug, Clone)]
enum Event {
    Says(usize, Vec<Word>, Pace),
    Leaves(usize),
    Rotates,
}

/// How far things go on before the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    ToTheEnd,
    OneRound,
    /// The servers say nothing yet.
    Unanswered,
}

#[derive(Debug, Clone)]
struct Case {
    events: Vec<Event>,
    upstreams: usize,
    /// `max_prepared_statements`.
    most: usize,
    /// Of the dice; 0: nothing is split, and the first always wins.
    seed: u64,
    /// Whether the first client has settings in its startup packet.
    dressed: bool,
}

impl Case {
    fn spelt(&self) -> String {
        let Self { events, upstreams, most, seed, dressed } = self;
        let events: String = events.iter().map(|event| format!("  {event:?}\n")).collect();
        format!("upstreams: {upstreams}, most: {most}, seed: {seed}, dressed: {dressed}\n{events}")
    }
}

fn event() -> impl Strategy<Value = Event> {
    let pace = prop_oneof![4 => Just(Pace::ToTheEnd), 1 => Just(Pace::OneRound), 1 => Just(Pace::Unanswered)];
    prop_oneof![
        30 => (0..CLIENTS, words(), pace).prop_map(|(client, words, pace)| Event::Says(client, words, pace)),
        1 => (0..CLIENTS).prop_map(Event::Leaves),
        1 => Just(Event::Rotates),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let events = prop::collection::vec(event(), 1..24);
    (events, 1..3_usize, select(vec![1, 2, 100]), any::<u64>(), any::<bool>())
        .prop_map(|(events, upstreams, most, seed, dressed)| Case { events, upstreams, most, seed, dressed })
}

fn dressed() -> Vec<(String, String)> {
    STARTUP.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn play(case: &Case) -> Result<(), String> {
    let startup = if case.dressed { dressed() } else { Vec::new() };
    let startups = [startup, Vec::new(), Vec::new()];
    let mut world = World::new(&startups, case.upstreams, case.most, case.seed);
    for (at, event) in case.events.iter().enumerate() {
        let pace = match event {
            // What its RESET took back is laid on by a Query, which ends the unnamed portal
            // (docs/behaviour.md).
            Event::Says(0, words, _)
                if case.dressed
                    && matches!(words.first(), Some(Word::Execute(_) | Word::DescribePortal(_))) =>
            {
                continue;
            }
            Event::Says(client, words, pace) => {
                world.says(*client, words);
                if *client == 0 && case.dressed {
                    // What a RESET took back is laid on again behind its Sync, and not before:
                    // what is executed between them sees the upstream's own value.
                    world.says(0, &[Word::Sync]);
                }
                *pace
            }
            Event::Leaves(client) => {
                world.leaves(*client);
                Pace::ToTheEnd
            }
            Event::Rotates => {
                world.rotates();
                Pace::ToTheEnd
            }
        };
        let moved = match pace {
            Pace::ToTheEnd => world.settles(),
            pace => world.moves(pace == Pace::OneRound).map(drop),
        };
        let right = moved.and_then(|()| world.compare(pace == Pace::ToTheEnd, false));
        right.map_err(|wrong| format!("after event {at}: {wrong}"))?;
    }
    // Nobody keeps an upstream from the others any more.
    let last = [Word::Sync, Word::Query("ROLLBACK"), Word::Query("DEALLOCATE ALL")];
    (0..CLIENTS).for_each(|client| world.says(client, &last));
    world.settles().and_then(|()| world.compare(true, true)).and_then(|()| world.check_books())
}

#[test]
fn whatever_several_clients_do_each_is_answered_as_by_a_server_of_its_own() {
    let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some_and(|set| !set.is_empty());
    let config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    // The same ones at every run of the short form, others each time in the long one.
    let mut runner = if long {
        TestRunner::new(config)
    } else {
        let config = Config { cases: 600, ..config };
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let outcome = runner.run(&case(), |case| play(&case).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("{reason}\n{}", case.spelt()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_parse_that_came_in_two_pieces_and_needs_no_upstream_keeps_nothing_waiting() {
    let mut world = World::new(&[Vec::new(), Vec::new()], 1, 100, 0);
    let parse = Word::Parse("s", "SELECT 1");
    // A server has taken it: from here on no upstream is needed for it.
    world.says(0, &[parse.clone(), Word::Sync]);
    world.settles().unwrap();
    let (bytes, sync) = (parse.bytes(), Word::Sync.bytes());
    let (begin, rest) = bytes.split_at(10);
    for piece in [&[&sync, begin].concat(), &[rest, &sync].concat(), &sync] {
        world.sends(1, piece);
        world.settles().and_then(|()| world.compare(true, true)).unwrap();
    }
}

/// One client on one upstream, step by step; what the startup packet says is in `STARTUP`.
fn alone(steps: &[&[Word]]) {
    let mut world = World::new(&[dressed()], 1, 1, 0);
    for words in steps {
        world.says(0, words);
        world.settles().and_then(|()| world.compare(true, true)).unwrap();
    }
    world.check_books().unwrap();
}

/// What is sent ahead of it fails, and the server passes over what comes behind that.
#[test]
fn a_query_that_the_server_never_reads_is_answered_all_the_same() {
    alone(&[
        &[Word::Parse("s", "SELECT 1"), Word::Sync],
        &[Word::Parse("r", "SELECT 2"), Word::Sync],
        &[Word::Query("BEGIN")],
        &[Word::Query("SELEKT")],
        // It has made way for the other one.
        &[Word::Query("EXECUTE s")],
        &[Word::Query("ROLLBACK")],
        &[Word::Query("EXECUTE s")],
    ]);
    alone(&[
        &[Word::Parse("s", "SELECT 1"), Word::Sync],
        &[Word::Query("BEGIN")],
        &[Word::Query("SAVEPOINT a")],
        &[Word::Query("PREPARE s AS SELECT 'sql'")],
        &[Word::Parse("s", "SELECT 1"), Word::Sync],
        &[Word::Query("ROLLBACK TO a")],
        &[Word::Query("PREPARE s AS SELECT 'sql'")],
        &[Word::Query("ROLLBACK")],
    ]);
}

#[test]
fn what_a_statement_sets_is_its_clients_when_it_is_executed_by_name_too() {
    alone(&[
        &[Word::Parse("s", "SELECT set_config('app.tenant', 'c', false)"), Word::Sync],
        &[Word::Query("EXECUTE s")],
    ]);
    alone(&[
        &[Word::Parse("s", "SET app.tenant = 'c'"), Word::Parse("", "EXECUTE s")],
        &[Word::Bind("", ""), Word::Execute(""), Word::Sync],
    ]);
    alone(&[
        &[Word::Query("PREPARE s AS SELECT set_config('app.tenant', 'c', false)")],
        &[Word::Query("EXECUTE s")],
        &[Word::Query("DEALLOCATE s")],
    ]);
    alone(&[
        &[Word::Query("PREPARE s AS SELECT 'sql'")],
        &[Word::Parse("r", "SELECT set_config('app.tenant', 'c', false)"), Word::Sync],
        &[Word::Bind("", "r"), Word::Execute(""), Word::Sync],
        &[Word::Query("DEALLOCATE ALL")],
    ]);
}

#[test]
fn a_reset_takes_back_what_it_names_and_nothing_that_comes_later() {
    let show = [Word::Query("SHOW TimeZone"), Word::Query("SHOW application_name")];
    alone(&[&[Word::Query("RESET TimeZone; SET TimeZone = 'Asia/Tokyo'")], &show]);
    alone(&[
        &[Word::Parse("", "RESET ALL"), Word::Bind("", ""), Word::Execute("")],
        &[Word::Parse("", "SET TimeZone = 'Asia/Aden'"), Word::Bind("", ""), Word::Execute(""), Word::Sync],
        &show,
    ]);
    alone(&[&[Word::Query("SET application_name = 'other'")], &[Word::Query("RESET TimeZone")], &show]);
}

#[test]
fn an_unnamed_statement_outlives_a_parse_that_was_passed_over() {
    let mut world = World::new(&[Vec::new(), Vec::new()], 1, 100, 0);
    let run = [Word::Bind("", ""), Word::Execute(""), Word::Sync];
    let passed_over = [Word::Parse("r", "SELECT 3"), Word::Parse("", "SELECT 2"), Word::Sync];
    let together = [&passed_over[..], &run].concat();
    let first = [Word::Parse("r", "SELECT 3"), Word::Parse("", "SELECT 1"), Word::Sync];
    for (client, words) in [(0, &first[..]), (1, &[Word::Query("SELECT 1")]), (0, &together)] {
        world.says(client, words);
        world.settles().and_then(|()| world.compare(true, true)).unwrap();
    }
}

/// What brings the unnamed statement along may be passed over, and what was sent behind it may not
/// build on it.
#[test]
fn an_unnamed_statement_that_could_not_be_brought_along_is_brought_along_later() {
    let mut world = World::new(&[Vec::new(), Vec::new()], 1, 100, 0);
    let fails = [Word::Execute("none"), Word::Bind("", ""), Word::Execute(""), Word::Sync];
    let together = [&fails[..], &[Word::DescribeStatement(""), Word::Sync]].concat();
    let first = [Word::Parse("", "SELECT 1"), Word::Sync];
    for (client, words) in [(0, &first[..]), (1, &[Word::Query("SELECT 1")]), (0, &together)] {
        world.says(client, words);
        world.settles().and_then(|()| world.compare(true, true)).unwrap();
    }
}

/// What brings it along fails, and a Query behind that is passed over: not the Query has failed.
#[test]
fn an_unnamed_statement_outlives_a_query_that_was_passed_over() {
    let begin = [Word::Parse("", "BEGIN"), Word::Bind("p", ""), Word::Execute("p"), Word::Execute("p")];
    let passed_over = [Word::Parse("", "SELECT 2"), Word::Sync];
    alone(&[
        &[&begin[..], &passed_over].concat(),
        &[Word::Bind("", ""), Word::Query("SELECT 1"), Word::Sync],
        &[Word::Bind("", ""), Word::Execute(""), Word::Sync],
        &[Word::Query("ROLLBACK")],
    ]);
}

/// It begins behind an answer of our own, and is withheld until it is known what it is.
#[test]
fn an_error_that_comes_in_pieces_is_passed_on_whole() {
    use Pace::{OneRound, ToTheEnd};
    use Word::{Bind, DescribePortal, DescribeStatement, Execute, Parse, Sync};
    let says = |client, words: &[Word], pace| Event::Says(client, words.to_vec(), pace);
    let case = Case {
        upstreams: 1,
        most: 1,
        seed: 7_943_329_106_781_017_684,
        dressed: true,
        events: vec![
            says(
                1,
                &[
                    Parse("", "SELECT current_setting('app.tenant', true) IS NOT DISTINCT FROM 'b'"),
                    DescribeStatement(""),
                    Sync,
                ],
                ToTheEnd,
            ),
            says(
                0,
                &[Parse("s", "SELECT 1"), Bind("", "s"), DescribePortal(""), Execute(""), Sync],
                ToTheEnd,
            ),
            says(1, &[Parse("s", "SELECT 2"), DescribeStatement("s"), Sync], ToTheEnd),
            says(1, &[Parse("", "SELECT 1")], OneRound),
            says(2, &[Bind("", "s"), Execute(""), Sync], ToTheEnd),
            says(1, &[Bind("", "r"), Execute(""), Sync], OneRound),
            Event::Leaves(2),
            Event::Rotates,
            says(1, &[Bind("", "s"), Execute("")], OneRound),
            says(2, &[DescribeStatement("s")], OneRound),
            says(0, &[Parse("s", "SELECT 1"), Sync], ToTheEnd),
            says(2, &[Sync], ToTheEnd),
            says(1, &[Parse("s", "SELECT 1"), Sync], ToTheEnd),
        ],
    };
    play(&case).unwrap();
}

/// It is asked whether `s` is still the client's own while the client prepares it anew.
#[test]
fn what_comes_during_a_question_is_read_by_its_answer() {
    use Pace::{OneRound, ToTheEnd};
    use Word::{Bind, DescribePortal, DescribeStatement, Execute, Parse, Query, Sync};
    let says = |client, words: &[Word], pace| Event::Says(client, words.to_vec(), pace);
    let case = Case {
        upstreams: 1,
        most: 1,
        seed: 751_253_348_892_058_488,
        dressed: false,
        events: vec![
            says(1, &[Execute("")], ToTheEnd),
            says(0, &[Parse("s", "SELECT 1"), Sync], ToTheEnd),
            says(
                1,
                &[Parse("s", "SELECT set_config('app.tenant', 'b', false)"), DescribeStatement("s"), Sync],
                ToTheEnd,
            ),
            says(1, &[Sync, Query("PREPARE s AS SELECT 'sql'")], ToTheEnd),
            says(
                1,
                &[Parse("", "DISCARD ALL"), Bind("", ""), DescribePortal(""), Execute(""), Sync],
                OneRound,
            ),
            says(1, &[Parse("s", "SELECT 1"), Sync], ToTheEnd),
            says(1, &[Parse("s", "SELECT 1"), Sync], ToTheEnd),
        ],
    };
    play(&case).unwrap();
}
