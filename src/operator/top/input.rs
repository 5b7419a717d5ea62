//! What a key means.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody at the keyboard wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// End.
    Quit,
    /// Close what lies on top, or end.
    Escape,
    /// The next database.
    Next,
    /// The one before.
    Previous,
    /// Stop or go on.
    Pause,
    /// Show the keys.
    Help,
}

/// The meaning of an event of the terminal; `None`: no key of ours, for example a new size.
pub(super) fn key(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (*code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    match code {
        KeyCode::Char('q' | 'Q') => Some(Key::Quit),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Tab | KeyCode::Down | KeyCode::Right | KeyCode::Char('j') => Some(Key::Next),
        KeyCode::BackTab | KeyCode::Up | KeyCode::Left | KeyCode::Char('k') => Some(Key::Previous),
        KeyCode::Char('p' | ' ') => Some(Key::Pause),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Some(Key::Help),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_meaning() {
        let (plain, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (code, modifiers, expected) in [
            (KeyCode::Char('q'), plain, Some(Key::Quit)),
            (KeyCode::Char('c'), control, Some(Key::Quit)),
            (KeyCode::Char('c'), plain, None),
            (KeyCode::Char('q'), control, None),
            (KeyCode::Esc, plain, Some(Key::Escape)),
            (KeyCode::Tab, plain, Some(Key::Next)),
            (KeyCode::BackTab, KeyModifiers::SHIFT, Some(Key::Previous)),
            (KeyCode::Down, plain, Some(Key::Next)),
            (KeyCode::Up, plain, Some(Key::Previous)),
            (KeyCode::Char('p'), plain, Some(Key::Pause)),
            (KeyCode::Char('?'), KeyModifiers::SHIFT, Some(Key::Help)),
            (KeyCode::Char('x'), plain, None),
        ] {
            assert_eq!(key(&Event::Key(KeyEvent::new(code, modifiers))), expected, "{code:?}");
        }
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), plain, KeyEventKind::Release);
        assert_eq!((key(&Event::Key(release)), key(&Event::Resize(40, 10))), (None, None));
    }
}
