//! Files that the configuration names: whether this user may read them.

use std::path::Path;

use super::problem::Findings;
use super::section::Section;

/// Reports a file that must be there when the proxy starts.
pub(super) fn must_be_readable(section: &Section<'_>, name: &str, file: &Path, findings: &mut Findings) {
    if let Err(error) = std::fs::File::open(file) {
        unreadable(section, name, file, &error, findings);
    }
}

/// Warns of a file that is read when it is needed: something else may still write it.
pub(super) fn should_be_readable(section: &Section<'_>, name: &str, file: &Path, findings: &mut Findings) {
    if let Err(error) = std::fs::File::open(file) {
        let what = format!("`{}`: {} cannot be read now: {error}", section.path_of(name), file.display());
        findings.warning(&section.origin(name), what, "it must be there when the first user is issued");
    }
}

fn unreadable(
    section: &Section<'_>,
    name: &str,
    file: &Path,
    error: &std::io::Error,
    findings: &mut Findings,
) {
    let what = format!("names {}, which cannot be read: {error}", file.display());
    section.error(name, &what, "correct the path, or let this user read the file", findings);
}
