//! An upstream that ends while a client of transaction mode is in the middle of something.
//!
//! The client gets the server's error for each request that is under way, as an error and not as the
//! end of its connection, and goes on: its next transaction gets another upstream. A transaction that was
//! open counts as failed until the client ends it, as it would with any other error. Where nobody can say
//! what the session lost with its upstream, the session ends as well.

use std::task::{Context, Poll};

use bytes::BytesMut;
use tracing::info;

use super::again::Again;
use super::answers::AnswerScan;
use super::end::{End, Step};
use super::loss::{Loss, ready};
use super::owed::Verdict;
use super::refusal;
use super::relay::{Hold, Relay, SHORTEST};
use super::roll::ClientState;
use crate::wire::{Encoder, ErrorFields, Header, HeaderScan, Severity, Status};

impl Relay {
    /// Whether the session goes on should its upstream end now.
    pub(super) fn outlives_upstream(&self) -> bool {
        !self.session_mode
            && self.leaving.is_none()
            && !self.shard.stopping.get()
            && self.answers.at_boundary()
            && !self.exchange.uncertain()
            && self.mine.outlives_upstream()
    }

    /// The server closed the connection, and said nothing that was not passed on.
    pub(super) fn upstream_closed(&mut self) -> Step {
        if self.server_said || !self.outlives_upstream() {
            return Step::End(self.server_is_gone());
        }
        self.lose(refusal::server_gone_on());
        Step::Again
    }

    /// The server's last word between transactions or in one: the upstream ends, the session does not.
    pub(super) fn upstream_says_goodbye(&mut self, fields: ErrorFields) {
        self.note_error(&fields.sqlstate);
        if self.exchange.at_rest() && !self.mine.has_doubt() {
            // Nothing was asked: the client does not hear of it.
            self.server_said = true;
        } else {
            self.lose(fields);
        }
    }

    /// The upstream ends, the session does not.
    pub(super) fn lose(&mut self, mut fields: ErrorFields) {
        self.gathers_no_more();
        let Hold::Active(mut conn) = std::mem::replace(&mut self.hold, Hold::Idle) else { return };
        info!(
            pool = %self.local.pool().settings().name,
            client = self.cell.id.0,
            user = %conn.generation().login().user,
            pid = conn.cancel_key().map(|key| key.pid),
            sqlstate = %fields.sqlstate,
            error = %fields.message,
            "server connection lost, client goes on"
        );
        fields.severity = Severity::Error.word().into();
        let in_transaction = self.exchange.status() != Status::Idle;
        let (requests, open) = self.exchange.unanswered();
        let hears_now = open.is_some() || !requests.is_empty();
        self.take_back_settings();
        let message = fields.encode();
        for has_failed in requests {
            if !has_failed {
                self.to_client.extend_from_slice(&message);
            }
            ready(&mut self.to_client, in_transaction);
        }
        if open == Some(false) {
            self.to_client.extend_from_slice(&message);
        }
        let said = (!hears_now).then_some(fields);
        self.mine.loses(&mut conn);
        conn.close();
        self.forget_upstream();
        self.loss = Some(Box::new(Loss { said, skipping: open.is_some(), in_transaction }));
    }

    /// What the server reported of settings that went with the transaction is not true any more.
    fn take_back_settings(&mut self) {
        let mut out = Encoder::default();
        let params = self.local.pool().server_params();
        let reported =
            params.iter().filter(|(name, _)| self.mine.doubt.is_about_setting(&name.to_ascii_lowercase()));
        for (name, value) in reported {
            out.parameter_status(name, self.mine.profile().get(name).unwrap_or(value));
        }
        self.to_client.extend_from_slice(&out.into_bytes());
    }

    fn forget_upstream(&mut self) {
        self.flow.ends();
        self.exchange.reset();
        self.answers = AnswerScan::default();
        self.withheld.clear();
        self.row.clear();
        self.again = Again::default();
        self.verdict = Verdict::Pass;
        self.to_server = BytesMut::new();
        self.needed = SHORTEST;
        self.tenure = None;
        self.cell.state.set(ClientState::Idle);
    }

    /// Without an upstream since the last one ended: what the client says of what was lost.
    pub(super) fn poll_loss(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Step {
        let bytes = if self.ahead.len() >= self.needed {
            std::mem::take(&mut self.ahead)
        } else {
            match self.client.poll_read(cx, scratch) {
                Poll::Ready(Ok(0) | Err(_)) => return Step::End(End::ClientLeft),
                Poll::Ready(Ok(n)) => {
                    self.local.count_from_client(n);
                    self.ahead.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    std::mem::take(&mut self.ahead)
                }
                Poll::Pending => return Step::Park,
            }
        };
        self.needed = SHORTEST;
        let mut rest = &bytes[..];
        loop {
            self.requests.body(&mut rest);
            if !self.requests.at_boundary() || rest.len() < SHORTEST {
                self.ahead.extend_from_slice(rest);
                return Step::Again;
            }
            let here = rest;
            let header = match self.requests.next(&mut rest) {
                Ok(Some(header)) => header,
                Ok(None) => return Step::Again,
                Err(malformed) => return Step::End(End::Refused(refusal::malformed(malformed))),
            };
            match self.hears_of_loss(header) {
                Some(Step::Again) => {}
                Some(step) => return step,
                None => {
                    self.requests = HeaderScan::default();
                    self.ahead.extend_from_slice(here);
                    return Step::Again;
                }
            }
        }
    }

    /// `None`: the message is for a server.
    fn hears_of_loss(&mut self, header: Header) -> Option<Step> {
        if header.kind == b'X' {
            return Some(Step::End(End::Terminated));
        }
        if !header.is_from_client() {
            return Some(Step::End(End::Refused(refusal::unexpected_message(header))));
        }
        let loss = self.loss.as_mut()?;
        if loss.hears(header.kind, &mut self.to_client) {
            return Some(Step::Again);
        }
        self.reopens = loss.in_transaction;
        self.loss = None;
        None
    }
}
