//! The screen as it looks on terminals of many sizes.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::super::super::report::Report;
use super::super::input::Key;
use super::super::state::Input;
use super::*;

const STATUS: &str = r#"{
  "version": "0.1.0", "uptime_seconds": 7500, "ready": false,
  "reasons": [{ "database": "shop", "reason": "no_user", "detail": "Vault is sealed" }],
  "threads": { "answering": 2, "blocked": [] },
  "databases": [
    { "database": "app", "source": "local", "pool_mode": "transaction", "active_generation": 2,
      "next_user_in_seconds": 397.4, "rotations": 1, "transactions": 100,
      "clients": { "active": 1, "waiting": 2, "idle": 3 },
      "servers": { "busy": 4, "idle": 5, "pool_size": 9, "max_server_connections": 18 },
      "waits": { "longest_seconds": 3, "served": 7, "p99_seconds": 0.05, "timeouts": 1 },
      "generations": [
        { "generation": 1, "user": "lh-app-one", "state": "retiring", "issued_seconds_ago": 900,
          "expires_in_seconds": 300, "busy": 1, "idle": 1, "connections": 2 },
        { "generation": 2, "user": "lh-app-two", "state": "active", "issued_seconds_ago": 300,
          "expires_in_seconds": 300, "busy": 3, "idle": 4, "connections": 7 }],
      "events": [
        { "seconds_ago": 90, "level": "info", "generation": 1, "text": "retired", "times": 1 },
        { "seconds_ago": 30, "level": "warn", "text": "not revoked", "times": 3 }] },
    { "database": "shop", "source": "vault", "pool_mode": "session", "last_error": "Vault is sealed" }
  ] }"#;

fn second(seconds: u64) -> Moment {
    Moment::from_nanos(seconds * 1_000_000_000)
}

/// After two answers, two seconds apart.
fn state() -> State {
    let mut state = State::new("http://127.0.0.1:9127".to_owned());
    let mut report = Report::read(STATUS).unwrap();
    state.step(Input::Asked(Ok(report.clone())), second(8));
    report.databases[0].transactions = 350;
    state.step(Input::Asked(Ok(report)), second(10));
    state
}

fn drawn(state: &State, now: Moment, width: u16, height: u16, color: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, now, Theme::new(color))).unwrap();
    terminal
}

/// The screen as lines without the spaces at their ends.
fn screen(state: &State, now: Moment, width: u16, height: u16) -> Vec<String> {
    let terminal = drawn(state, now, width, height, true);
    let cells = terminal.backend().buffer().content();
    let row = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    cells.chunks(usize::from(width)).map(row).collect()
}

#[test]
fn a_wide_terminal_shows_all_of_it() {
    let lines = screen(&state(), second(10), 100, 24);
    let expected = [
        "not ready  http://127.0.0.1:9127  up 2h 05m  leasehold 0.1.0",
        "shop: Vault is sealed",
        "database                          state     ends in tx/s    busy/idle/most clients waiting wait p99",
        "app                               ready     5m 00s  125     4/5/9          4 2             ≤ 50ms",
        "shop                              no_user   -       0       0/0/0          0 0             -",
        "gen  state     to its end ends in busy/idle user",
        "1    retiring  ███░░░░░░░ 5m 00s  1/1       lh-app-one",
        "2    active    █████░░░░░ 5m 00s  3/4       lh-app-two",
        "app",
        "connections  4 busy, 5 idle; at most 9, 18 with those of earlier users",
        "clients      1 active, 2 waiting, 3 idle",
        "waits        99 of 100 ≤ 50ms, of 7 since the start; longest now 3s; timeouts: 1",
        "next user    in 6m 37s; rotations so far: 1",
        "",
        "    30s ago warn  not revoked (3 times)",
        " 1m 30s ago info  generation 1: retired",
    ];
    assert_eq!(lines[..expected.len()], expected, "{lines:#?}");
    assert_eq!(lines[23], "q quit  ↑↓ database  p pause  ? help");
}

#[test]
fn forty_columns_show_what_matters() {
    let lines = screen(&state(), second(10), 40, 20);
    assert_eq!(lines[3], "app            ready     5m 00s  125", "{lines:#?}");
    assert_eq!(lines[4], "shop           no_user   -       0", "{lines:#?}");
    assert_eq!(lines[7], "2    active    ██░░ 5m 00s  lh-app-two", "{lines:#?}");
}

#[test]
fn no_size_breaks_it() {
    let mut states = vec![State::new("http://127.0.0.1:9127".to_owned()), state()];
    let mut helped = state();
    helped.step(Input::Key(Key::Help), second(10));
    states.push(helped);
    for state in &states {
        for (width, height) in [(1, 1), (3, 2), (10, 5), (24, 8), (40, 10), (59, 4), (200, 3), (300, 90)] {
            let lines = screen(state, second(11), width, height);
            assert!(lines.iter().any(|line| !line.is_empty()), "{width} × {height}");
        }
    }
}

#[test]
fn what_matters_most_gets_its_lines_first() {
    for (total, databases, generations, expected) in [
        (24, 2, 2, [1, 3, 3, 6, 10, 1]),
        (24, 50, 9, [1, 8, 7, 6, 1, 1]),
        (8, 1, 2, [1, 2, 3, 1, 0, 1]),
        (4, 3, 3, [1, 2, 0, 0, 0, 1]),
        (1, 3, 3, [1, 0, 0, 0, 0, 0]),
        (0, 3, 3, [0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(heights(total, 1, databases, generations), expected, "{total} {databases} {generations}");
    }
}

#[test]
fn times_go_on_between_answers_and_stand_still_in_a_pause() {
    let mut state = state();
    let ends_in = |state: &State, at| screen(state, second(at), 60, 20)[3].contains("ready     4m 50s");
    assert!(ends_in(&state, 20));
    state.step(Input::Key(Key::Pause), second(20));
    let lines = screen(&state, second(70), 60, 20);
    assert_eq!(lines[1], "paused for 50s: p goes on");
    assert!(lines[4].contains("4m 50s"), "{lines:#?}");
}

#[test]
fn silence_is_told_beside_what_was_seen_last() {
    let mut state = state();
    state.step(Input::Asked(Err("cannot connect: refused".into())), second(12));
    let lines = screen(&state, second(17), 80, 20);
    assert_eq!(lines[1], "no answer for 5s: cannot connect: refused", "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("lh-app-two")), "{lines:#?}");
    let mut first = State::new("http://127.0.0.1:1".to_owned());
    first.step(Input::Asked(Err("refused".into())), second(1));
    let lines = screen(&first, second(1), 80, 20);
    assert_eq!(lines[..2], ["asking http://127.0.0.1:1 …", "no answer for 0s: refused"]);
}

#[test]
fn another_database_can_be_looked_at_and_the_keys_be_shown() {
    let mut state = state();
    state.step(Input::Key(Key::Next), second(10));
    let lines = screen(&state, second(10), 80, 24);
    assert!(lines.iter().any(|line| line == "last error   Vault is sealed"), "{lines:#?}");
    state.step(Input::Key(Key::Help), second(10));
    let text = screen(&state, second(10), 80, 24).join("\n");
    assert!(text.contains("choose a database"), "{text}");
}

#[test]
fn colours_are_off_where_they_are_not_wanted() {
    let colored = |color| {
        let terminal = drawn(&state(), second(10), 100, 24, color);
        let cells = terminal.backend().buffer().content();
        cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert_eq!((colored(true), colored(false)), (true, false));
}
