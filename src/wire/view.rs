//! Reads the few bodies of server messages that somebody acts on.

use super::startup::CancelKey;

/// What ReadyForQuery says of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Outside a transaction.
    #[default]
    Idle,
    /// In a transaction.
    Transaction,
    /// In a failed transaction.
    Failed,
}

/// The body of ReadyForQuery.
#[inline]
#[must_use]
pub fn ready_status(body: &[u8]) -> Option<Status> {
    match body {
        [b'I'] => Some(Status::Idle),
        [b'T'] => Some(Status::Transaction),
        [b'E'] => Some(Status::Failed),
        _ => None,
    }
}

/// The body of ParameterStatus: name and value.
#[must_use]
pub fn parameter_status(body: &[u8]) -> Option<(String, String)> {
    let mut strings = body.split(|b| *b == 0);
    let (name, value) = (strings.next()?, strings.next()?);
    Some((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
}

/// The body of BackendKeyData.
#[must_use]
pub fn backend_key(body: &[u8]) -> Option<CancelKey> {
    let (pid, secret) = body.split_first_chunk::<4>()?;
    Some(CancelKey { pid: u32::from_be_bytes(*pid), secret: secret.to_vec() })
}

/// The fields of a DataRow in text format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow(pub Vec<Option<String>>);

impl DataRow {
    /// Reads the body; `None` if it is cut short.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (count, mut rest) = body.split_first_chunk::<2>()?;
        let mut fields = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            rest = tail;
            let length = i32::from_be_bytes(*length);
            fields.push(match usize::try_from(length) {
                Ok(length) => {
                    let (field, tail) = rest.split_at_checked(length)?;
                    rest = tail;
                    Some(String::from_utf8_lossy(field).into_owned())
                }
                Err(_) => None,
            });
        }
        Some(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_are_read() {
        assert_eq!(ready_status(b"T"), Some(Status::Transaction));
        assert_eq!(ready_status(b"x"), None);
        assert_eq!(parameter_status(b"TimeZone\0UTC\0"), Some(("TimeZone".into(), "UTC".into())));
        assert_eq!(
            DataRow::parse(&[0, 2, 0, 0, 0, 1, b'x', 255, 255, 255, 255]),
            Some(DataRow(vec![Some("x".into()), None]))
        );
    }

    proptest! {
        #[test]
        fn no_body_can_panic_them(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (ready_status(&body), parameter_status(&body), backend_key(&body));
            let _ = DataRow::parse(&body);
        }
    }
}
