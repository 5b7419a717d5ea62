//! The settings that a client's startup packet asked for.

/// Settings by name, as given: the names are PostgreSQL's, the values unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Profile(Vec<(String, String)>);

impl Profile {
    /// The settings in this order; of a name given twice the last counts.
    #[must_use]
    pub fn new(settings: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut kept: Vec<(String, String)> = Vec::new();
        for (name, value) in settings {
            kept.retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
            kept.push((name, value));
        }
        Self(kept)
    }

    /// Name and value pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The pairs as startup parameters.
    #[must_use]
    pub fn as_pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of one setting.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_whatever_its_case() {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        let profile = Profile::new([pair("DateStyle", "SQL"), pair("a", "1"), pair("datestyle", "ISO")]);
        assert_eq!(profile.get("DATESTYLE"), Some("ISO"));
        assert_eq!(profile.iter().count(), 2);
    }
}
