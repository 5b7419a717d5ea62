//! ErrorResponse and NoticeResponse.
//!
//! Source: PostgreSQL manual, "Error and Notice Message Fields".

use super::encode::Encoder;

/// How bad it is, in PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

impl Severity {
    /// As it stands in a message.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The fields of an error that people and programs read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorFields {
    /// `V`, never translated: ERROR, FATAL, PANIC, …
    pub severity: String,
    /// `C`, five characters.
    pub sqlstate: String,
    /// `M`.
    pub message: String,
    /// `D`, may be empty.
    pub detail: String,
    /// `H`, may be empty.
    pub hint: String,
}

impl ErrorFields {
    /// An error of our own.
    #[must_use]
    pub fn new(severity: Severity, sqlstate: &str, message: impl Into<String>) -> Self {
        Self {
            severity: severity.word().into(),
            sqlstate: sqlstate.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Reads the body of an ErrorResponse; what is missing stays empty.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut fields = Self::default();
        for field in body.split(|b| *b == 0) {
            let Some((&kind, text)) = field.split_first() else { continue };
            let text = || String::from_utf8_lossy(text).into_owned();
            match kind {
                b'V' => fields.severity = text(),
                // Servers before 9.6 send only the translated one.
                b'S' if fields.severity.is_empty() => fields.severity = text(),
                b'C' => fields.sqlstate = text(),
                b'M' => fields.message = text(),
                b'D' => fields.detail = text(),
                b'H' => fields.hint = text(),
                _ => {}
            }
        }
        fields
    }

    /// Whether the connection ends with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }

    /// As a whole ErrorResponse.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.message(b'E', |body| {
            for (kind, text) in [
                (b'S', &self.severity),
                (b'V', &self.severity),
                (b'C', &self.sqlstate),
                (b'M', &self.message),
                (b'D', &self.detail),
                (b'H', &self.hint),
            ] {
                if !text.is_empty() {
                    body.push(kind);
                    body.extend(text.bytes().filter(|b| *b != 0));
                    body.push(0);
                }
            }
            body.push(0);
        });
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let error = ErrorFields::new(Severity::Fatal, "3D000", "database \"x\" does not exist")
            .detail("known: a, b")
            .hint("ask for one of them");
        let bytes = error.encode();
        assert_eq!(bytes[0], b'E');
        assert_eq!(ErrorFields::parse(&bytes[5..]), error);
        assert!(error.is_fatal());
    }

    proptest! {
        #[test]
        fn no_body_can_panic_it(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ErrorFields::parse(&body);
        }
    }
}
