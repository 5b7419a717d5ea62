//! A strict reader of the OpenMetrics text format 1.0
//! (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#text-format>),
//! as far as a proxy writes it: no timestamps, no exemplars. What is not well formed fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of one sample, by name.
pub type Labels = BTreeMap<String, String>;

/// One metric with all its samples.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub unit: String,
    pub help: String,
    /// By the sample's own name, suffix included.
    pub samples: Vec<(String, Labels, f64)>,
}

/// What a scrape brought.
#[derive(Debug, Default)]
pub struct Exposition {
    pub families: BTreeMap<String, Family>,
}

impl Exposition {
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text:?}"));
        let mut found = Self::default();
        let mut current = String::new();
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(meta) => {
                    let mut words = meta.splitn(3, ' ');
                    let (what, name, rest) =
                        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                    if name != current {
                        assert!(is_name(name) && !found.families.contains_key(name), "{line}");
                        name.clone_into(&mut current);
                    }
                    let family = found.families.entry(current.clone()).or_default();
                    assert!(family.samples.is_empty(), "{line}");
                    let field = match what {
                        "HELP" => &mut family.help,
                        "TYPE" => &mut family.kind,
                        "UNIT" => &mut family.unit,
                        _ => panic!("{line}"),
                    };
                    assert!(field.is_empty() && !rest.is_empty(), "twice or empty: {line}");
                    rest.clone_into(field);
                }
                None => {
                    let (name, labels, value) = sample(line);
                    let family = found.families.get_mut(&current).unwrap_or_else(|| panic!("{line}"));
                    let suffix =
                        name.strip_prefix(&current).unwrap_or_else(|| panic!("not of {current}: {line}"));
                    assert!(suffixes(&family.kind).contains(&suffix), "{line}");
                    family.samples.push((name, labels, value));
                }
            }
        }
        found.check();
        found
    }

    fn check(&self) {
        for (name, family) in &self.families {
            assert!(!family.kind.is_empty() && !family.help.is_empty(), "{name}");
            assert!(family.unit.is_empty() || name.ends_with(&format!("_{}", family.unit)), "{name}");
            let mut seen = BTreeSet::new();
            for (sample, labels, value) in &family.samples {
                assert!(seen.insert((sample, labels)), "twice: {sample} {labels:?}");
                assert!(value.is_finite(), "{sample}");
                assert!(family.kind == "gauge" || *value >= 0.0, "{sample} {value}");
            }
            if family.kind == "histogram" {
                family.check_buckets(name);
            }
        }
    }

    /// Names as an expression uses them, suffixes included, also of metrics without a sample.
    pub fn names(&self) -> BTreeSet<String> {
        let of = |(name, family): (&String, &Family)| {
            suffixes(&family.kind).iter().map(|suffix| format!("{name}{suffix}")).collect::<Vec<_>>()
        };
        self.families.iter().flat_map(of).collect()
    }

    /// Every series, by name and labels.
    pub fn series(&self) -> BTreeSet<(String, Labels)> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        samples.map(|(name, labels, _)| (name.clone(), labels.clone())).collect()
    }

    /// All samples of this name that have these labels, added up; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).iter().sum()
    }

    /// The one sample of this name that has these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.matching(name, labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0]
    }

    pub fn matching(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let samples = self.families.values().flat_map(|family| &family.samples);
        let fits = |(sample, found, _): &&(String, Labels, f64)| {
            sample == name
                && labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
        };
        samples.filter(fits).map(|(_, _, value)| *value).collect()
    }
}

impl Family {
    /// The labels that its samples have, those of the form's own apart.
    pub fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|(_, labels, _)| labels.keys());
        names.map(String::as_str).filter(|label| *label != "le").collect()
    }

    fn check_buckets(&self, name: &str) {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, labels, value) in &self.samples {
            let mut labels = labels.clone();
            let le = labels.remove("le");
            assert_eq!(le.is_some(), sample.ends_with("_bucket"), "{sample}");
            if let Some(le) = le {
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
                buckets.entry(labels).or_default().push((bound, *value));
            }
        }
        for (labels, buckets) in buckets {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?} {buckets:?}");
            let last = buckets.last().unwrap();
            assert_eq!(last.0, f64::INFINITY, "{name}");
            let count = self
                .samples
                .iter()
                .find(|(sample, found, _)| *sample == format!("{name}_count") && *found == labels);
            assert_eq!(count.unwrap().2, last.1, "{name}");
        }
    }
}

fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "gauge" => &[""],
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => panic!("unknown kind {kind:?}"),
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    begins && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("{line}"));
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, number.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// Up to the quote that ends it, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        let (at, c) = chars.next()?;
        match c {
            '"' => return text.get(at + 1..).map(|rest| (value, rest)),
            '\n' => return None,
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}
