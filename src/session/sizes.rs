//! How much memory a client takes as long as it is here: its task's future, and its relay in a box with the largest
//! parts of that.
//! A test that fails when it grows.

use std::mem::{size_of, size_of_val};

use super::again::Again;
use super::answers::AnswerScan;
use super::client::serve;
use super::exchange::Exchange;
use super::relay::{Hold, Relay};
use super::roll::ClientCell;
use super::shard::Shard;
use super::statements::Statements;
use super::virtual_session::VirtualSession;
use crate::net::{Stream, memory_pair};
use crate::pool::{Conn, Prepared, Waiting};

/// Bytes, as last measured on x86-64. Who makes it smaller writes the new number here.
const FUTURE: usize = 456;
const RELAY: usize = 888;

/// A twentieth more fails.
fn most(known: usize) -> usize {
    known + known / 20
}

#[test]
fn a_clients_task_takes_no_more_memory_than_it_did() {
    let shard = Shard::staged();
    let (_far, near) = memory_pair();
    let seat = shard.crowd.enter(0);
    let future = size_of_val(&serve(shard.clone(), Stream::memory(near), None, seat));
    let parts = [
        ("future of session::client::serve", future),
        ("Relay", size_of::<Relay>()),
        ("    Hold", size_of::<Hold>()),
        ("      Conn", size_of::<Conn>()),
        ("        Prepared", size_of::<Prepared>()),
        ("      Waiting", size_of::<Waiting>()),
        ("    VirtualSession", size_of::<VirtualSession>()),
        ("      Statements", size_of::<Statements>()),
        ("    Exchange", size_of::<Exchange>()),
        ("    Again", size_of::<Again>()),
        ("    AnswerScan", size_of::<AnswerScan>()),
        ("    Stream", size_of::<Stream>()),
        ("beside it: ClientCell", size_of::<ClientCell>()),
    ];
    let table: String = parts.iter().map(|(name, bytes)| format!("{bytes:6}  {name}\n")).collect();
    println!("{table}");
    assert!(future <= most(FUTURE), "{future} bytes instead of {FUTURE}\n{table}");
    assert!(size_of::<Relay>() <= most(RELAY), "{} bytes instead of {RELAY}\n{table}", size_of::<Relay>());
}
