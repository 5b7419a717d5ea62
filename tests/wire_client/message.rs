//! Messages: what a client can send, and what it reads from the answers.

use std::fmt;

/// One message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.body.get(..200).unwrap_or(&self.body);
        write!(f, "{} {:?}", char::from(self.kind), String::from_utf8_lossy(shown))
    }
}

impl Message {
    /// A field of ErrorResponse or NoticeResponse: `C` the SQLSTATE, `M` the text, …
    pub fn field(&self, code: u8) -> String {
        let fields = self.body.split(|byte| *byte == 0);
        let value = fields.filter_map(|field| field.split_first()).find(|(name, _)| **name == code);
        value.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    }

    /// The values of a DataRow, as text.
    pub fn row(&self) -> Vec<Option<String>> {
        assert_eq!(self.kind, b'D', "{self:?}");
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while !rest.is_empty() {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            values.push(usize::try_from(length).ok().map(|length| {
                let (value, after) = rest.split_at(length);
                rest = after;
                String::from_utf8_lossy(value).into_owned()
            }));
        }
        values
    }

    /// Name and value of a ParameterStatus.
    pub fn parameter(&self) -> (String, String) {
        assert_eq!(self.kind, b'S', "{self:?}");
        let mut strings = self.body.split(|byte| *byte == 0);
        let mut next = || String::from_utf8(strings.next().unwrap().to_vec()).unwrap();
        (next(), next())
    }
}

/// The kinds of a list, as a word: `TDCZ`.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.kind)).collect()
}

/// Any message.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn strings(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &strings(&[sql]))
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    let mut body = strings(&[name, sql]);
    body.extend([0, 0]);
    message(b'P', &body)
}

/// Parameters and results in text.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    bind_as(portal, statement, values, None)
}

/// With one format for all results: 0 text, 1 binary.
pub fn bind_as(portal: &str, statement: &str, values: &[Option<&str>], result: Option<u16>) -> Vec<u8> {
    let mut body = strings(&[portal, statement]);
    body.extend([0, 0]);
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        match value {
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(value.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    match result {
        Some(format) => {
            body.extend([0, 1]);
            body.extend(format.to_be_bytes());
        }
        None => body.extend([0, 0]),
    }
    message(b'B', &body)
}

pub fn describe_statement(name: &str) -> Vec<u8> {
    message(b'D', &strings(&[&format!("S{name}")]))
}

pub fn describe_portal(name: &str) -> Vec<u8> {
    message(b'D', &strings(&[&format!("P{name}")]))
}

/// `limit` 0: all rows.
pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = strings(&[portal]);
    body.extend(limit.to_be_bytes());
    message(b'E', &body)
}

pub fn close_statement(name: &str) -> Vec<u8> {
    message(b'C', &strings(&[&format!("S{name}")]))
}

pub fn close_portal(name: &str) -> Vec<u8> {
    message(b'C', &strings(&[&format!("P{name}")]))
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

pub fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

pub fn copy_fail(why: &str) -> Vec<u8> {
    message(b'f', &strings(&[why]))
}

/// Arguments and result in text.
pub fn function_call(oid: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(u16::try_from(arguments.len()).unwrap().to_be_bytes());
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.as_bytes());
    }
    body.extend([0, 0]);
    message(b'F', &body)
}

pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

/// A packet without a type.
fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    out.extend(code.to_be_bytes());
    out.extend(body);
    out
}

pub fn startup(minor: u16, params: &[(&str, &str)]) -> Vec<u8> {
    let mut body: Vec<u8> = params.iter().flat_map(|(name, value)| strings(&[name, value])).collect();
    body.push(0);
    packet((3 << 16) | u32::from(minor), &body)
}

pub fn ssl_request() -> Vec<u8> {
    packet(80_877_103, &[])
}

pub fn gss_request() -> Vec<u8> {
    packet(80_877_104, &[])
}

pub fn cancel_request(pid: u32, secret: &[u8]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    body.extend(secret);
    packet(80_877_102, &body)
}
