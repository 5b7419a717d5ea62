//! Errors by the class of their SQLSTATE.

/// Every class of the manual, appendix A; a server's own functions may raise any other.
const CLASSES: [&str; 43] = [
    "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24",
    "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53",
    "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// How many errors of each class there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorClasses {
    counts: [u64; CLASSES.len()],
    other: u64,
}

impl Default for ErrorClasses {
    fn default() -> Self {
        Self { counts: [0; CLASSES.len()], other: 0 }
    }
}

impl ErrorClasses {
    /// One more.
    pub fn count(&mut self, sqlstate: &str) {
        let class = sqlstate.get(..2).unwrap_or_default();
        let known = CLASSES.iter().position(|known| *known == class);
        let count = known.and_then(|at| self.counts.get_mut(at)).unwrap_or(&mut self.other);
        *count = count.saturating_add(1);
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.other = self.other.saturating_add(other.other);
        self
    }

    /// Classes of which there were some; `other` is all that the manual does not have.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.counts).chain([("other", self.other)]).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_makes_up_is_one_class() {
        let mut classes = ErrorClasses::default();
        for sqlstate in ["23505", "23503", "ZZ001", "QQQQQ", "", "é", "XX000"] {
            classes.count(sqlstate);
        }
        let seen: Vec<_> = classes.and(&classes).seen().collect();
        assert_eq!(seen, [("23", 4), ("XX", 2), ("other", 8)]);
    }
}
