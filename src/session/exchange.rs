//! What is owed: when an upstream stands between transactions with nothing on
//! its way in either direction, so that it can be given back.
//!
//! The rule is one-sided: a request may be counted that the server will not
//! answer (then the upstream is kept until the client leaves), never the other
//! way round. Source: PostgreSQL manual, "Message Flow", and the server's
//! `CopyGetData`, which skips Sync and Flush during COPY FROM STDIN.

use std::collections::VecDeque;

use crate::wire::Status;

/// A message that the server answers with ReadyForQuery, or where something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Query,
    Sync,
    Call,
    /// The first message of the extended protocol behind one of these, and how many Executes are
    /// owed an answer from there on.
    Begin(u32),
    /// The same, and the server has sent an error since: it may be skipping up to the next Sync.
    Failed,
    CopyEnd,
}

/// Bookkeeping of one upstream's conversation with one client.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Sent and not answered yet, in order.
    owed: VecDeque<Point>,
    /// How many of `owed` get a ReadyForQuery.
    answers: usize,
    /// The server takes copy data.
    copy_in: bool,
    /// A Sync was skipped by the server in this COPY.
    skipped: bool,
    /// The two sides may disagree about what is owed.
    uncertain: bool,
    status: Status,
}

impl Exchange {
    /// Forgets everything: another upstream, another conversation. Keeps its memory.
    pub(super) fn reset(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        *self = Self { owed, ..Self::default() };
        self.owed.clear();
    }

    /// A message of the client was passed on.
    #[inline]
    pub(super) fn sent(&mut self, kind: u8) {
        match kind {
            b'Q' => self.expect(Point::Query),
            b'F' => self.expect(Point::Call),
            b'S' if self.copy_in => self.skipped = true,
            b'S' => self.expect(Point::Sync),
            b'P' | b'B' | b'D' | b'E' | b'C' => self.goes_on(kind == b'E'),
            b'c' | b'f' => {
                if self.copy_in {
                    self.copy_in = false;
                } else if self.is_open() || self.answers > 0 {
                    // Ahead of the server's CopyInResponse, or behind an error.
                    self.owed.push_back(Point::CopyEnd);
                }
            }
            _ => {}
        }
    }

    /// A message of the extended protocol.
    #[inline]
    fn goes_on(&mut self, executes: bool) {
        if self.last() == Some(Point::Failed) {
            return;
        }
        match self.owed.back_mut() {
            Some(Point::Begin(owed)) => *owed = owed.saturating_add(u32::from(executes)),
            // The end of a COPY tells those before it from those behind.
            _ => self.owed.push_back(Point::Begin(u32::from(executes))),
        }
    }

    /// An Execute or a statement of a Query is over, without an error.
    #[inline]
    pub(super) fn completed(&mut self) {
        let over = |point: &Point| matches!(point, Point::CopyEnd | Point::Begin(0));
        if let Some(Point::Begin(owed)) = self.owed.iter_mut().find(|point| !over(point)) {
            *owed = owed.saturating_sub(1);
        }
    }

    #[inline]
    fn expect(&mut self, point: Point) {
        // A server that is skipping skips all but a Sync.
        self.uncertain |= point != Point::Sync && self.last() == Some(Point::Failed);
        self.owed.push_back(point);
        self.answers = self.answers.saturating_add(1);
        if self.copy_in {
            // Not allowed in a COPY: the server will complain, and who knows what it skips.
            self.uncertain = true;
        }
    }

    /// The server said ReadyForQuery.
    #[inline]
    pub(super) fn ready(&mut self, status: Status) {
        self.status = status;
        self.copy_in = false;
        self.skipped = false;
        while let Some(point) = self.owed.pop_front() {
            if !matches!(point, Point::CopyEnd | Point::Begin(_) | Point::Failed) {
                self.answers = self.answers.saturating_sub(1);
                // Sent for a COPY that this request turned out not to be: the server skips them.
                while self.owed.front() == Some(&Point::CopyEnd) {
                    self.owed.pop_front();
                }
                return;
            }
        }
        self.uncertain = true;
    }

    /// The server said CopyInResponse: it skips every Sync up to the end of the data.
    pub(super) fn copy_in(&mut self) {
        // It is not about what is over, nor can the end of a COPY that was sent before be meant for it.
        while let Some(Point::CopyEnd | Point::Begin(0)) = self.owed.front() {
            self.owed.pop_front();
        }
        let from = usize::from(!self.owed.is_empty());
        // Nobody asked for it.
        self.uncertain |= from == 0;
        while let Some(point @ (Point::Sync | Point::Begin(_) | Point::Failed)) = self.owed.get(from).copied()
        {
            self.owed.remove(from);
            if point == Point::Sync {
                self.answers = self.answers.saturating_sub(1);
                self.skipped = true;
            }
        }
        if self.owed.get(from) == Some(&Point::CopyEnd) {
            self.owed.remove(from);
        } else {
            self.copy_in = true;
        }
    }

    /// The server sent an error.
    pub(super) fn error(&mut self) {
        self.uncertain |= self.is_doubtful();
        // With an answer owed, it is about what was sent before the open batch.
        if self.answers == 0
            && self.is_open()
            && let Some(begin) = self.owed.iter_mut().rfind(|point| **point != Point::CopyEnd)
        {
            *begin = Point::Failed;
        }
        if std::mem::take(&mut self.copy_in) && self.skipped {
            // The error may have come before the server read the Sync that we
            // took for skipped: then it will be answered after all.
            self.uncertain = true;
        }
    }

    /// What was sent last, ends of a COPY aside.
    #[inline]
    fn last(&self) -> Option<Point> {
        self.owed.iter().rfind(|point| **point != Point::CopyEnd).copied()
    }

    /// Messages of the extended protocol were sent behind the last Sync.
    #[inline]
    fn is_open(&self) -> bool {
        matches!(self.last(), Some(Point::Begin(_) | Point::Failed))
    }

    /// A Query or FunctionCall went out behind messages without Sync: should one of those fail,
    /// the server skips it too.
    fn is_doubtful(&self) -> bool {
        let open = |point: &Point| matches!(point, Point::Begin(_) | Point::Failed);
        let mut before = None;
        self.owed.iter().filter(|point| **point != Point::CopyEnd).any(|point| {
            let skipped = before.replace(point).is_some_and(open) && !matches!(point, Point::Sync);
            skipped && !open(point)
        })
    }

    /// Between transactions, with nothing owed.
    #[inline]
    pub(super) fn at_rest(&self) -> bool {
        self.quiet() && self.status == Status::Idle
    }

    /// Nothing owed, in a transaction or not.
    #[inline]
    pub(super) fn quiet(&self) -> bool {
        self.answers == 0 && !self.is_open() && !self.copy_in
    }

    /// Whether the server needs more from the client before it can finish: a
    /// request is incomplete, in COPY, or none is under way.
    #[inline]
    pub(super) fn wants_client(&self) -> bool {
        // With the books in doubt, what looks like an answer still owed may never come.
        self.answers == 0 || self.is_open() || self.copy_in || self.uncertain
    }

    /// Nothing that was sent before can fail any more, and nothing of this transaction has.
    #[inline]
    pub(super) fn is_sound(&self) -> bool {
        self.answers == 0 && self.status != Status::Failed && self.last() != Some(Point::Failed)
    }

    /// What the last ReadyForQuery said.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Another upstream is in a failed transaction, as the one before was.
    pub(super) fn begins_failed(&mut self) {
        self.status = Status::Failed;
    }

    /// Of each request that is to end with ReadyForQuery whether the client has heard that it failed, in
    /// order; then the same of messages without a Sync, if there are any.
    pub(super) fn unanswered(&self) -> (Vec<bool>, Option<bool>) {
        let (mut requests, mut open) = (Vec::new(), None);
        for point in &self.owed {
            match point {
                Point::Begin(_) => open = Some(false),
                Point::Failed => open = Some(true),
                Point::Query | Point::Call => requests.push(false),
                Point::Sync => requests.push(open.take() == Some(true)),
                Point::CopyEnd => {}
            }
        }
        (requests, open)
    }

    /// Whether the connection must be closed because the two sides may disagree.
    #[inline]
    pub(super) fn uncertain(&self) -> bool {
        self.uncertain
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `>x` sends x; `<x` receives Z with status x, `<G` CopyInResponse, `<E` an error, `<C`
    /// CommandComplete.
    fn play(script: &str) -> Exchange {
        let mut exchange = Exchange::default();
        let mut chars = script.chars().filter(|c| !c.is_whitespace());
        while let (Some(direction), Some(what)) = (chars.next(), chars.next()) {
            match (direction, what) {
                ('>', kind) => exchange.sent(u8::try_from(kind).unwrap()),
                ('<', 'I') => exchange.ready(Status::Idle),
                ('<', 'T') => exchange.ready(Status::Transaction),
                ('<', 'F') => exchange.ready(Status::Failed),
                ('<', 'G') => exchange.copy_in(),
                ('<', 'C') => exchange.completed(),
                ('<', 'E') => exchange.error(),
                other => panic!("{other:?}"),
            }
        }
        exchange
    }

    #[test]
    fn conversations_end_at_rest() {
        for script in [
            ">Q <I",
            ">Q <T >Q <I",
            ">Q >Q <I <I",
            ">P >B >D >E >S <I",
            ">P >B >E >S >B >E >S <I <I",
            ">P >B >E <E >S <I",
            ">P >H >B >E >H >S <I",
            ">F <I",
            // COPY by simple query, polite and blind.
            ">Q <G >d >c <I",
            ">Q >d >c <G <I",
            ">Q <G >d >f <E <I",
            // COPY by Execute: the Sync sent along is skipped, the one behind the data counts.
            ">P >B >E >S <G >d >c >S <I",
            ">P >B >E <G >d >c >S <I",
            ">P >B >E >d >c >S <G <I",
            ">P >B >E >S <G >d >S >c >S <I",
            // An end of data that nobody waited for, ahead of a COPY by Execute.
            ">Q >f >P >B >E >S <E <I <G >d >c >S <I",
            ">Q >c >P >B >E >S <I <G >d >c >S <I",
            ">P >B >E >S >c >P >B >E >S <I <G >d >c >S <I",
            // Two blind ones by Execute in one go.
            ">P >B >E >d >c >B >E >d >c >S <G <C <G <C <I",
            // One that nobody waited for, behind an Execute of the same batch.
            ">P >B >E >c >P >B >E >S >c >S <C <G <C <I",
            ">P >B >E <C >c >P >B >E >S <G >d >c >S <C <I",
            ">P >B >E >c >c >P >B >E <C <G >d >c <C >S <I",
            // The same, behind an error of an earlier batch.
            ">P >B >E >S >P >B >E >c >P >B >E >S >c >S <E <I <C <G <C <I",
            // The client notices an error late and goes on sending data.
            ">Q <G >d <E <I >d >c",
        ] {
            let exchange = play(script);
            assert!(exchange.at_rest(), "{script}: {exchange:?}");
            assert!(!exchange.uncertain(), "{script}");
        }
    }

    #[test]
    fn nothing_is_given_back_too_early() {
        for script in [
            "", // at rest, but only since nothing was asked
            ">Q",
            ">Q <T",
            ">Q <F",
            ">P",
            ">P >B >E",
            ">Q >Q <I",
            ">P >B >E >S",
            ">Q <G >d",
            ">Q <G >d >c",
            ">P >B >E >S <G",
            ">P >B >E >S <G >d >c",
            ">P >B >E >S <G >d >c >S",
            ">P >B <E",
            ">P >B >E >S >P <I",
        ]
        .into_iter()
        .filter(|s| !s.is_empty())
        {
            assert!(!play(script).at_rest(), "{script}");
        }
    }

    #[test]
    fn what_is_unanswered_hears_of_the_end() {
        for (script, requests, open) in [
            (">Q <T", &[][..], None),
            (">Q >Q <I", &[false], None),
            (">P >B >E >S", &[false], None),
            (">P >B >E >S >B >E", &[false], Some(false)),
            (">P >B <E", &[], Some(true)),
            (">P >B <E >S", &[true], None),
            // In a COPY; the Sync that was sent along is passed over.
            (">Q <G >d", &[false], None),
            (">P >B >E >S <G >d", &[], Some(false)),
            (">P >B >E <G >d >c >S", &[false], None),
        ] {
            assert_eq!(play(script).unanswered(), (requests.to_vec(), open), "{script}");
        }
    }

    #[test]
    fn doubt_is_remembered() {
        // An error in a COPY whose Sync may or may not have been skipped.
        assert!(play(">P >B >E >S <G <E").uncertain());
        // An answer that nobody asked for.
        assert!(play(">Q <I <I").uncertain());
        // A query in the middle of copy data.
        assert!(play(">Q <G >Q").uncertain());
    }

    #[test]
    fn the_client_is_heard_while_the_server_needs_it() {
        for (script, wants) in [
            ("", true),
            (">Q", false),
            (">Q <T", true),
            (">P >B", true),
            (">P >B >S", false),
            (">Q <G", true),
            // The server skipped the Query: it waits for the Sync.
            (">P >Q <E", true),
            (">P <E >Q", true),
            (">P >Q", false),
        ] {
            assert_eq!(play(script).wants_client(), wants, "{script}");
        }
    }

    /// A server that answers as PostgreSQL does, one message at a time.
    #[derive(Default)]
    struct Server {
        failed: bool,
        copying: Option<bool>,
    }

    impl Server {
        /// What it says to one message: any of `Z`, `G`, `E`, `C`.
        fn hears(&mut self, message: char) -> &'static str {
            if let Some(by_query) = self.copying {
                return match message {
                    'c' => {
                        self.copying = None;
                        if by_query { "Z" } else { "C" }
                    }
                    'f' => {
                        self.copying = None;
                        self.failed = !by_query;
                        if by_query { "EZ" } else { "E" }
                    }
                    _ => "",
                };
            }
            match message {
                'S' => {
                    self.failed = false;
                    "Z"
                }
                _ if self.failed => "",
                'Q' => "CZ",
                'E' => "C",
                'q' => {
                    self.copying = Some(true);
                    "G"
                }
                'e' => {
                    self.copying = Some(false);
                    "G"
                }
                'x' => {
                    self.failed = true;
                    "E"
                }
                _ => "",
            }
        }
    }

    proptest! {
        /// Whatever well-formed requests are sent, and however far the answers lag
        /// behind, it is at rest only when the server has answered everything.
        #[test]
        fn at_rest_only_when_all_is_answered(
            requests in prop::collection::vec(prop::sample::select(vec![
                "Q", "PBES", "PBEPBES", "PxBES", "qddc", "qdf", "PBeSddcS", "PBeddcS", "PBeSdfS", "S", "PBEHS", "Qf", "Qc", "PBESc", "PBEQ", "xQS", "xQQS",
                "PBEc", "PBEf", "c", "PBEcPBeSddcS", "PBEcPBeddcS", "BEcBEcBeSdfS",
            ]), 1..12),
            lags in prop::collection::vec(0usize..6, 0..80),
        ) {
            let mut exchange = Exchange::default();
            let mut server = Server::default();
            let mut inbox = VecDeque::new();
            let mut lags = lags.into_iter();
            for message in requests.concat().chars().chain(['S']) {
                // q, e and x are Query and Execute of particular statements.
                let kind = match message { 'q' => 'Q', 'e' => 'E', 'x' => 'B', other => other };
                exchange.sent(u8::try_from(kind).unwrap());
                inbox.push_back(message);
                for _ in 0..lags.next().unwrap_or(0) {
                    let Some(heard) = inbox.pop_front() else { break };
                    for answer in server.hears(heard).chars() {
                        match answer {
                            'Z' => exchange.ready(Status::Idle),
                            'G' => exchange.copy_in(),
                            'C' => exchange.completed(),
                            _ => exchange.error(),
                        }
                    }
                }
                let outstanding = inbox.iter().any(|m| matches!(m, 'Q' | 'q' | 'S'))
                    || server.copying.is_some();
                if exchange.at_rest() && !exchange.uncertain() {
                    prop_assert!(!outstanding, "at rest while {:?} is unanswered", inbox);
                }
            }
            for heard in inbox {
                for answer in server.hears(heard).chars() {
                    match answer {
                        'Z' => exchange.ready(Status::Idle),
                        'G' => exchange.copy_in(),
                        'C' => exchange.completed(),
                        _ => exchange.error(),
                    }
                }
            }
            prop_assert!(exchange.at_rest() || exchange.uncertain(), "{:?}", exchange);
        }
    }
}
