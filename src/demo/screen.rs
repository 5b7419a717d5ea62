//! Draws in place on a terminal, line by line anywhere else.

use std::io::Write;

use super::view::{Frame, Tone, line, paint, picture};

/// Where the demo is shown.
pub(super) struct Screen<W: Write> {
    out: W,
    terminal: bool,
    color: bool,
    /// Lines of the picture that stand on the terminal now.
    drawn: usize,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(out: W, terminal: bool, color: bool) -> Self {
        Self { out, terminal, color, drawn: 0 }
    }

    /// Whether the picture is drawn in place.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// A line that stays. A screen that is gone (a closed pipe) is no reason to leave things behind.
    pub(super) fn say(&mut self, tone: Tone, text: &str) {
        let text = if self.terminal { paint(tone, text, usize::MAX, self.color) } else { text.to_owned() };
        let erased = self.erase();
        let _ = writeln!(self.out, "{erased}{text}");
        let _ = self.out.flush();
    }

    /// The state of things: redrawn in place, or one more line.
    pub(super) fn show(&mut self, frame: &Frame<'_>) {
        if !self.terminal {
            return self.say(Tone::Plain, &line(frame));
        }
        let width =
            rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col));
        let width = if width == 0 { 80 } else { width };
        let lines = picture(frame);
        let mut text = self.erase();
        self.drawn = lines.len();
        for (tone, plain) in lines {
            text.push_str(&paint(tone, &plain, width, self.color));
            text.push('\n');
        }
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// What moves back to the first line of the picture and clears it.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::story::Look;
    use super::*;

    fn frame(look: &Look) -> Frame<'_> {
        let (elapsed, life) = (Duration::ZERO, Duration::from_secs(20));
        Frame { elapsed, duration: None, command: "psql", life, look, tps: 0.0, failures: 0, swaps: 0 }
    }

    fn shown(terminal: bool, color: bool) -> String {
        let (mut out, look) = (Vec::new(), Look::default());
        let mut screen = Screen::new(&mut out, terminal, color);
        screen.show(&frame(&look));
        screen.say(Tone::Good, "swap");
        screen.show(&frame(&look));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_keeps_the_events_above_the_picture() {
        let text = shown(true, true);
        assert_eq!(text.matches("\x1b[8A\x1b[J").count(), 1, "{text:?}");
        assert!(text.contains("\x1b[8A\x1b[J\x1b[32mswap\x1b[0m\n"), "{text:?}");
        assert!(!shown(true, false).contains("\x1b[32m"));
    }

    #[test]
    fn a_pipe_gets_plain_lines_only() {
        let text = shown(false, true);
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains('\x1b'));
    }
}
