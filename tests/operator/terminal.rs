//! A terminal for a program of ours: a pseudo-terminal of `script` (util-linux), and what stands on its screen.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::support::program::on_path;
use super::support::proxy::{binary, command};
use super::support::wait::wait_for;
use super::support::{Missing, wait_until};

/// A program on a terminal of its own. Killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    directory: TempDir,
    size: (usize, usize),
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// All that was written to the terminal.
    pub output: String,
    /// The terminal's modes afterwards, as stty says them.
    pub modes: String,
}

impl Terminal {
    /// Starts `leasehold ARGUMENTS` on a terminal of so many columns and rows.
    pub fn start(arguments: &str, size: (usize, usize), env: &[(&str, &str)]) -> Result<Self, Missing> {
        if on_path("script").is_none() {
            return Err(Missing("no `script` (Debian's bsdutils) for a pseudo-terminal".to_owned()));
        }
        let directory = tempfile::Builder::new().prefix("leasehold-tty-").tempdir().unwrap();
        let place = directory.path().display();
        let run = format!(
            "stty cols {} rows {}; tty > {place}/tty; sh -c 'echo $$ > {place}/pid; exec {} {arguments}'; \
             code=$?; stty -a > {place}/modes; exit $code",
            size.0,
            size.1,
            binary().display()
        );
        let mut script = Command::new("script");
        // The environment of the program itself, without what the developer's shell says.
        script.env_clear();
        let removed: Vec<_> = command()
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.to_owned())
            .collect();
        script.envs(std::env::vars_os().filter(|(name, _)| !removed.contains(name) && name != "NO_COLOR"));
        script.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").envs(env.iter().copied());
        script.args(["-q", "-f", "-e", "-c", &run]).arg(directory.path().join("screen"));
        let mut script =
            script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let keyboard = script.stdin.take().unwrap();
        Ok(Self { script, keyboard, directory, size })
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// The id of the program.
    pub fn id(&self) -> i32 {
        self.file("pid").trim().parse().unwrap()
    }

    /// Makes it another size, of which the program is told by SIGWINCH.
    pub fn resize(&mut self, size: (usize, usize)) {
        let mut stty = Command::new("stty");
        stty.arg("-F").arg(self.file("tty").trim());
        stty.args(["cols", &size.0.to_string(), "rows", &size.1.to_string()]);
        assert!(stty.status().unwrap().success());
        self.size = size;
    }

    /// All that was written to the terminal so far.
    pub fn output(&self) -> String {
        self.file("screen")
    }

    /// What stands on the screen.
    pub fn screen(&self) -> String {
        screen(&self.output(), self.size)
    }

    /// Waits for a screen as wanted; the screen as it is after `patience` fails the test.
    pub async fn until(&self, what: &str, patience: Duration, wanted: impl Fn(&str) -> bool) {
        let found = wait_until(patience, async || wanted(&self.screen())).await;
        assert!(found, "no {what}:\n{}", self.screen());
    }

    /// Waits for the end of the program.
    pub async fn end(mut self, patience: Duration) -> Ended {
        let ended = wait_for(patience, async || self.script.try_wait().unwrap()).await;
        let Some(status) = ended else { panic!("still there:\n{}", self.screen()) };
        let code = status.code().unwrap_or(-1);
        Ended { code, output: self.output(), modes: self.file("modes") }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// What a terminal shows after this output: characters, of the control sequences (ECMA-48) CUP and ED, and the
/// alternate screen of xterm.
fn screen(output: &str, (columns, rows): (usize, usize)) -> String {
    let blank = || vec![vec![' '; columns]; rows];
    let (mut cells, mut row, mut column) = (blank(), 0_usize, 0_usize);
    let mut chars = output.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                let mut parameters = String::new();
                let end = loop {
                    match chars.next() {
                        Some(end @ '\u{40}'..='\u{7e}') => break end,
                        Some(parameter) => parameters.push(parameter),
                        None => break ' ',
                    }
                };
                let number = |index: usize| {
                    let text = parameters.split(';').nth(index).unwrap_or_default();
                    text.parse::<usize>().unwrap_or(1).saturating_sub(1)
                };
                match end {
                    'H' => (row, column) = (number(0), number(1)),
                    'J' => cells = blank(),
                    'h' if parameters == "?1049" => cells = blank(),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            next if next.is_control() => {}
            next => {
                if let Some(cell) = cells.get_mut(row).and_then(|line| line.get_mut(column)) {
                    *cell = next;
                }
                column += 1;
            }
        }
    }
    let lines = cells.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_screen_is_what_a_terminal_would_show() {
    let output = "lost\x1b[?1049h\x1b[3;1Hlost\x1b[2J\x1b[1;1H\x1b[1mab\x1b[0mc\x1b[2;3Hd\x1b[?25l\x1b[1;2HX\x1b[9;9Hout";
    assert_eq!(screen(output, (4, 2)), "aXc\n  d");
}
