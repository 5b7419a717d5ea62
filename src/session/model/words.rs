//! What clients say in the test of a model: messages by name, and as bytes.

use proptest::prelude::*;
use proptest::sample::select;

use crate::session::messages::put;

/// A message of a client.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Parse(&'static str, &'static str),
    Bind(&'static str, &'static str),
    DescribeStatement(&'static str),
    DescribePortal(&'static str),
    Execute(&'static str),
    CloseStatement(&'static str),
    ClosePortal(&'static str),
    Flush,
    Sync,
    Query(&'static str),
}

impl Word {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        let mut message = |kind, parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            put(&mut out, kind, &parts);
        };
        match self {
            Self::Parse(name, text) => message(b'P', &[name, "\0", text, "\0\0\0"]),
            Self::Bind(portal, name) => message(b'B', &[portal, "\0", name, "\0\0\0\0\0\0\0"]),
            Self::DescribeStatement(name) => message(b'D', &["S", name, "\0"]),
            Self::DescribePortal(portal) => message(b'D', &["P", portal, "\0"]),
            Self::Execute(portal) => message(b'E', &[portal, "\0\0\0\0\0"]),
            Self::CloseStatement(name) => message(b'C', &["S", name, "\0"]),
            Self::ClosePortal(portal) => message(b'C', &["P", portal, "\0"]),
            Self::Flush => message(b'H', &[]),
            Self::Sync => message(b'S', &[]),
            Self::Query(text) => message(b'Q', &[text, "\0"]),
        }
        out.to_vec()
    }
}

/// Texts for statements with a name.
const TEXTS: &[&str] = &[
    "SELECT 1",
    "SELECT 2",
    "SELECT current_setting('TimeZone')",
    "SELECT current_setting('app.tenant', true) IS NOT DISTINCT FROM 'b'",
    "SHOW TimeZone",
    "SELECT 1/0",
    "SELEKT",
    "SET TimeZone = 'Asia/Tokyo'",
    "SELECT set_config('app.tenant', 'b', false)",
    "",
];

/// More for the one without.
const MORE: &[&str] = &[
    "SET TimeZone = 'Asia/Aden'",
    "SET LOCAL TimeZone = 'UTC'",
    "RESET TimeZone",
    "RESET ALL",
    "DISCARD ALL",
    "SET nothing = '1'",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "EXECUTE s",
    "DEALLOCATE s",
    "DEALLOCATE ALL",
];

const QUERIES: &[&str] = &[
    "SET TimeZone = 'Asia/Tokyo'",
    "SET TIME ZONE 'UTC'",
    "SET LOCAL TimeZone = 'Asia/Aden'",
    "SET application_name = 'other'",
    "RESET TimeZone",
    "SHOW TimeZone",
    "SET app.tenant = 'a'",
    "SELECT set_config('app.tenant', 'b', false)",
    "SET app.tenant = 'b'; SELECT 1/0",
    "SET app.tenant = 'b'; SELECT 1",
    "SELECT current_setting('app.tenant', true) IS NOT DISTINCT FROM 'b'",
    "RESET ALL",
    "DISCARD ALL",
    "DEALLOCATE s",
    "DEALLOCATE ALL",
    "EXECUTE s",
    "EXECUTE r",
    "PREPARE s AS SELECT 'sql'",
    "SELECT 1",
    "SELEKT",
    "",
];

const CONTROL: &[&str] = &["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a"];

fn statement() -> impl Strategy<Value = &'static str> {
    select(vec!["s", "r", ""])
}

fn portal() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("p")]
}

fn prepared() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![
        3 => (select(vec!["s", "r"]), select(TEXTS)),
        2 => (Just(""), select([TEXTS, MORE].concat())),
    ]
}

/// One message or a few, with their Sync or without.
pub(super) fn words() -> impl Strategy<Value = Vec<Word>> {
    use Word::{
        Bind, ClosePortal, CloseStatement, DescribePortal, DescribeStatement, Execute, Flush, Parse, Query,
        Sync,
    };
    prop_oneof![
        3 => prepared().prop_map(|(name, text)| vec![Parse(name, text), Sync]),
        3 => prepared().prop_map(|(name, text)| vec![Parse(name, text), DescribeStatement(name), Sync]),
        3 => (prepared(), portal()).prop_map(|((name, text), portal)| {
            vec![Parse(name, text), Bind(portal, name), DescribePortal(portal), Execute(portal), Sync]
        }),
        5 => (portal(), statement()).prop_map(|(portal, name)| vec![Bind(portal, name), Execute(portal), Sync]),
        2 => (portal(), statement()).prop_map(|(portal, name)| vec![Bind(portal, name), Execute(portal)]),
        2 => prepared().prop_map(|(name, text)| vec![Parse(name, text)]),
        1 => statement().prop_map(|name| vec![DescribeStatement(name)]),
        1 => portal().prop_map(|portal| vec![Execute(portal)]),
        1 => portal().prop_map(|portal| vec![DescribePortal(portal)]),
        1 => portal().prop_map(|portal| vec![ClosePortal(portal)]),
        2 => statement().prop_map(|name| vec![CloseStatement(name)]),
        1 => statement().prop_map(|name| vec![CloseStatement(name), Sync]),
        1 => Just(vec![Flush]),
        4 => Just(vec![Sync]),
        // Behind a Sync: what a Query without one comes to is the business of `exchange`.
        6 => select(QUERIES).prop_map(|text| vec![Sync, Query(text)]),
        4 => select(CONTROL).prop_map(|text| vec![Sync, Query(text)]),
    ]
}
