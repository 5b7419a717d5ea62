//! One ordered queue: for each answer that a server owes, whose it is.
//!
//! The client's pass through; those of messages of our own are swallowed; one that we make up
//! has its turn when those before it have come. Source: PostgreSQL manual, "Message Flow".

use std::collections::VecDeque;

/// What will be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    Query,
    Call,
    /// Ends a COPY that may or may not have begun; has no answer of its own.
    CopyEnd,
}

impl Kind {
    /// Whether it ends with ReadyForQuery.
    fn is_cycle(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::Call)
    }
}

/// Who gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Client,
    /// A message of our own around the client's.
    Ours,
    /// Nobody was asked: it is ours to say.
    MadeUp,
    /// A query that lays settings on the upstream.
    Align,
    /// The same behind a RESET: the client is to hear of it.
    Restore,
    /// A query about what the client left.
    Question,
    /// A query that opens a transaction which has failed.
    Reopen,
    /// The client's Sync behind a failure that it does not hear of: all is sent once more.
    Again,
}

/// What becomes of the answer that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Swallow,
    /// Swallow, and read.
    Read,
    /// Pass once it is whole, or not at all.
    Withhold,
}

#[derive(Debug)]
pub(super) struct Entry<U> {
    pub(super) kind: Kind,
    pub(super) whose: Whose,
    /// What was changed on the assumption that it would succeed.
    pub(super) undo: U,
}

/// The queue; `U` is how an assumption is taken back.
#[derive(Debug)]
pub(super) struct Owed<U> {
    entries: VecDeque<Entry<U>>,
    /// How many of them are not simply the client's.
    special: usize,
    /// The server skips up to the next Sync.
    skipping: bool,
    /// The server takes copy data, and skips Sync.
    copy_in: bool,
    /// An answer came that nobody waited for.
    lost: bool,
}

impl<U> Default for Owed<U> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), special: 0, skipping: false, copy_in: false, lost: false }
    }
}

impl<U> Owed<U> {
    /// Forgets everything, and keeps its memory.
    pub(super) fn reset(&mut self) {
        self.entries.clear();
        self.special = 0;
        self.skipping = false;
        self.copy_in = false;
        self.lost = false;
    }

    /// Gives its memory back.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 32 {
            self.entries = VecDeque::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Nothing of what is owed can keep the server from reading what is sent now.
    pub(super) fn is_clear(&self) -> bool {
        self.entries.iter().all(|entry| entry.kind.is_cycle() || entry.kind == Kind::CopyEnd)
    }

    /// All answers pass as they come.
    #[inline]
    pub(super) fn all_pass(&self) -> bool {
        self.special == 0
    }

    /// The books and the server's answers do not fit.
    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// Whether the server passes over what is sent now.
    #[inline]
    pub(super) fn skips(&self, kind: Kind) -> bool {
        (self.skipping || self.copy_in) && kind != Kind::Sync
    }

    /// A message was sent, or is to be answered by us.
    #[inline]
    pub(super) fn push(&mut self, kind: Kind, whose: Whose, undo: U) {
        if self.copy_in {
            // Nothing else is answered there; what is not allowed ends the COPY with an error.
            return;
        }
        if self.skipping {
            if kind != Kind::Sync {
                return;
            }
            self.skipping = false;
        }
        self.special = self.special.saturating_add(usize::from(whose != Whose::Client));
        self.entries.push_back(Entry { kind, whose, undo });
    }

    /// CopyDone or CopyFail was sent.
    pub(super) fn copy_ends(&mut self, undo: U) {
        if self.copy_in {
            self.copy_in = false;
        } else if !self.entries.is_empty() {
            self.push(Kind::CopyEnd, Whose::Client, undo);
        }
    }

    /// What becomes of an answer of this type, which begins.
    #[inline]
    pub(super) fn verdict(&mut self, answer: u8) -> Verdict {
        if self.special == 0 {
            return Verdict::Pass;
        }
        self.skip_copy_ends();
        let Some(front) = self.entries.front() else { return Verdict::Pass };
        match (front.whose, answer) {
            // A question sets nothing: what is reported with its answer is news of the server's.
            (Whose::Client | Whose::MadeUp, _) | (_, b'A') | (Whose::Restore | Whose::Question, b'S') => {
                Verdict::Pass
            }
            (Whose::Ours, b'1' | b'3' | b'Z') | (Whose::Again, b'Z') => Verdict::Swallow,
            (Whose::Ours | Whose::Again, _) => Verdict::Pass,
            (Whose::Question, b'D') => Verdict::Read,
            _ => Verdict::Swallow,
        }
    }

    /// Whose answer comes next.
    #[inline]
    pub(super) fn front(&self) -> Option<(Kind, Whose)> {
        self.entries.front().map(|entry| (entry.kind, entry.whose))
    }

    /// An answer other than an error has come: the entry that is over with it.
    #[inline]
    pub(super) fn heard(&mut self, answer: u8) -> Option<Entry<U>> {
        self.skip_copy_ends();
        let front = self.entries.front().map(|entry| entry.kind);
        let over = match (answer, front) {
            (_, Some(Kind::Query | Kind::Call)) => answer == b'Z',
            (b'1', Some(Kind::Parse))
            | (b'2', Some(Kind::Bind))
            | (b'3', Some(Kind::Close))
            | (b'T' | b'n', Some(Kind::Describe))
            | (b'C' | b'I' | b's', Some(Kind::Execute))
            | (b'Z', Some(Kind::Sync)) => true,
            (b'1' | b'2' | b'3' | b'C' | b'I' | b's' | b'Z', _) => {
                self.lost = true;
                false
            }
            _ => false,
        };
        if answer == b'Z' {
            self.copy_in = false;
        }
        if !over {
            return None;
        }
        let entry = self.pop();
        // Sent for a COPY that this turned out not to be: they are passed over.
        self.skip_copy_ends();
        entry
    }

    /// The next answer is one that we make up.
    pub(super) fn is_made_up(&self) -> bool {
        self.special > 0 && self.entries.front().is_some_and(|entry| entry.whose == Whose::MadeUp)
    }

    pub(super) fn pop(&mut self) -> Option<Entry<U>> {
        let entry = self.entries.pop_front()?;
        self.special = self.special.saturating_sub(usize::from(entry.whose != Whose::Client));
        Some(entry)
    }

    /// CopyInResponse has come: every Sync up to the end of the data is passed over. True if that
    /// end is still to be sent.
    pub(super) fn copy_in(&mut self) -> bool {
        self.skip_copy_ends();
        let by_query = self.entries.front().is_some_and(|entry| entry.kind == Kind::Query);
        if by_query {
            // Our own Sync behind it is passed over as well.
            if self.entries.get(1).is_some_and(|entry| (entry.kind, entry.whose) == (Kind::Sync, Whose::Ours))
            {
                self.entries.remove(1);
                self.special = self.special.saturating_sub(1);
            }
            if self.entries.get(1).is_some_and(|entry| entry.kind == Kind::CopyEnd) {
                self.entries.remove(1);
            } else {
                self.copy_in = true;
            }
            return self.copy_in;
        }
        while let Some(kind) = self.entries.get(1).map(|entry| entry.kind) {
            match kind {
                Kind::CopyEnd => {
                    self.entries.remove(1);
                    return false;
                }
                Kind::Sync => {
                    if let Some(entry) = self.entries.remove(1) {
                        self.special = self.special.saturating_sub(usize::from(entry.whose != Whose::Client));
                    }
                }
                // Not allowed in a COPY: an error will say so.
                _ => break,
            }
        }
        self.copy_in = true;
        true
    }

    /// An error has come. What of the extended protocol it ends, the failed message first, and
    /// all that the server passes over with it. A Query ends with its ReadyForQuery.
    pub(super) fn failed(&mut self) -> Vec<Entry<U>> {
        self.skip_copy_ends();
        self.copy_in = false;
        let mut dropped = Vec::new();
        match self.entries.front().map(|entry| entry.kind) {
            // A FATAL out of the blue, or a COMMIT that failed at its Sync.
            None => return dropped,
            Some(kind) if kind.is_cycle() => return dropped,
            Some(_) => {}
        }
        loop {
            if self.entries.front().is_some_and(|entry| entry.kind == Kind::Sync) {
                return dropped;
            }
            match self.pop() {
                Some(entry) => dropped.push(entry),
                None => {
                    self.skipping = true;
                    return dropped;
                }
            }
        }
    }

    /// Behind a failure: the client's Sync is all that is owed, and is not for it. False: there is
    /// more, or something else.
    pub(super) fn hide_sync(&mut self) -> bool {
        let only = self.entries.len() == 1;
        let front = self.entries.front_mut().filter(|entry| only && entry.kind == Kind::Sync);
        let Some(sync) = front.filter(|entry| entry.whose == Whose::Client) else { return false };
        sync.whose = Whose::Again;
        self.special = self.special.saturating_add(1);
        true
    }

    /// The answer to our own Sync that comes next is to be the client's.
    pub(super) fn pass_sync_on(&mut self) {
        if let Some(front) = self.entries.front_mut()
            && (front.kind, front.whose) == (Kind::Sync, Whose::Ours)
        {
            front.whose = Whose::Client;
            self.special = self.special.saturating_sub(1);
        }
    }

    /// What is owed, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<U>> {
        self.entries.iter()
    }

    /// How what is still owed would be taken back, in order.
    pub(super) fn undos(&mut self) -> impl Iterator<Item = &mut U> {
        self.entries.iter_mut().map(|entry| &mut entry.undo)
    }

    fn skip_copy_ends(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.kind == Kind::CopyEnd) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `>x` sends x, in lower case one of our own, `+` makes a ParseComplete up; `<x` hears x.
    fn play(script: &str) -> (Owed<()>, String) {
        let mut owed = Owed::default();
        let mut passed = String::new();
        let mut chars = script.chars().filter(|c| !c.is_whitespace());
        while let (Some(direction), Some(what)) = (chars.next(), chars.next()) {
            if direction == '>' {
                let (kind, whose) = match what {
                    'P' => (Kind::Parse, Whose::Client),
                    'p' => (Kind::Parse, Whose::Ours),
                    '+' => (Kind::Parse, Whose::MadeUp),
                    'B' => (Kind::Bind, Whose::Client),
                    'D' => (Kind::Describe, Whose::Client),
                    'E' => (Kind::Execute, Whose::Client),
                    'C' => (Kind::Close, Whose::Client),
                    'c' => (Kind::Close, Whose::Ours),
                    'S' => (Kind::Sync, Whose::Client),
                    's' => (Kind::Sync, Whose::Ours),
                    'Q' => (Kind::Query, Whose::Client),
                    'a' => (Kind::Query, Whose::Align),
                    '.' => {
                        owed.copy_ends(());
                        continue;
                    }
                    other => panic!("{other}"),
                };
                owed.push(kind, whose, ());
            } else {
                if owed.verdict(what as u8) == Verdict::Pass {
                    passed.push(what);
                }
                match what {
                    'E' => drop(owed.failed()),
                    'G' => drop(owed.copy_in()),
                    other => drop(owed.heard(other as u8)),
                }
            }
            while owed.is_made_up() {
                owed.pop();
                passed.push('+');
            }
        }
        (owed, passed)
    }

    #[test]
    fn each_answer_goes_where_it_belongs() {
        for (script, expected) in [
            (">Q <T <D <C <Z", "TDCZ"),
            (">P >B >D >E >S <1 <2 <T <D <C <Z", "12TDCZ"),
            (">a >Q <T <D <C <Z <T <D <C <Z", "TDCZ"),
            (">p >B >E >S <1 <2 <C <Z", "2CZ"),
            (">+ >B >E >S <2 <C <Z", "+2CZ"),
            (">P >+ >B >E >S <1 <2 <C <Z", "1+2CZ"),
            (">D >S <t <T <Z", "tTZ"),
            // An error drops what is left of its batch, made up or not.
            (">P >+ >B >S >+ >S <E <Z <Z", "EZ+Z"),
            (">P >B <1 <E >B >E >S <Z", "1EZ"),
            // An error of our own message is the client's.
            (">p >B >E >S <E <Z", "EZ"),
            (">Q <E <Z", "EZ"),
            // A Query behind a failed batch is passed over with it.
            (">P >Q >S <E <Z", "EZ"),
            // The Sync that is sent along with a COPY by Execute is passed over.
            (">B >E >S <2 <G >. >S <C <Z", "2GCZ"),
            (">B >E >. >S <2 <G <C <Z", "2GCZ"),
            (">Q <G >. <C <Z", "GCZ"),
            (">Q >. <G <C <Z", "GCZ"),
            (">Q >. <C <Z >Q <C <Z", "CZCZ"),
            (">Q >. <E <Z", "EZ"),
            (">B >E >. <2 <C >S <Z", "2CZ"),
            // Behind a duplicate name: our own Close and Sync.
            (">p >P >S >c >s <1 <E <Z <3 <Z", "EZ"),
        ] {
            let (owed, passed) = play(script);
            assert_eq!(passed, expected, "{script}");
            assert!(owed.is_empty() && owed.all_pass() && !owed.lost(), "{script}: {owed:?}");
        }
    }

    #[test]
    fn an_answer_that_nobody_waited_for_is_noticed() {
        for script in ["<Z", ">P <2", ">Q <Z <Z", ">B >S <1"] {
            assert!(play(script).0.lost(), "{script}");
        }
    }
}
