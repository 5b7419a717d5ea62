//! How things that mean something look, with colours or without.

use ratatui::style::{Color, Modifier, Style};

/// The styles of the screen. What a colour says is always said in words too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    color: bool,
}

impl Theme {
    pub(super) fn new(color: bool) -> Self {
        Self { color }
    }

    /// Served, active.
    pub(super) fn good(self) -> Style {
        self.fg(Style::new(), Color::Green)
    }

    /// Degraded, on its way out.
    pub(super) fn warn(self) -> Style {
        self.fg(Style::new(), Color::Yellow)
    }

    /// Someone must act.
    pub(super) fn bad(self) -> Style {
        self.fg(self.strong(), Color::Red)
    }

    /// Headings and names.
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is over.
    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What is chosen.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn fg(self, style: Style, color: Color) -> Style {
        if self.color { style.fg(color) } else { style }
    }
}
