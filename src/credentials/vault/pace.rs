//! How often a login may be tried that Vault refuses.
//!
//! Five refused logins of one role id (or user name), each within 15 minutes of the one before, lock it
//! for everybody who logs in with it.
//! <https://developer.hashicorp.com/vault/docs/concepts/user-lockout>

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Moment;
use crate::secret::Secret;

/// Refusals in a row before the long wait; what is left to five is for others, and for a restart
/// that does not find [`LoginPace::kept_in`].
const QUICK: u32 = 3;
/// As [`QUICK`], where the secret was replaced since.
const QUICK_WITH_ANOTHER: u32 = 4;
/// After this time Vault counts anew.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60 + 30);

/// The refused logins of all sources whose settings are clones of one another.
#[derive(Debug, Clone, Default)]
pub struct LoginPace(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    refusals: Mutex<Refusals>,
    /// Where the count outlives the program.
    file: Option<PathBuf>,
}

impl LoginPace {
    /// A count that outlives the program: in a file of this directory, one for each `door` (Vault's
    /// address, the mount, the name that is locked). Only a number and a time are in it.
    #[must_use]
    pub fn kept_in(directory: &Path, door: &[&str]) -> Self {
        let digest = Sha256::digest(door.join("\n"));
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = directory.join(format!("refused-logins-{name}"));
        Self(Arc::new(Shared { refusals: Mutex::default(), file: Some(file) }))
    }

    /// Where it is kept, if it is.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// One login at a time, so that a refusal is known before the next one begins. Cancel safe.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let mut refusals = self.0.refusals.lock().await;
        let file = self.file();
        if let Some(kept) = file.and_then(Kept::read) {
            refusals.recall(kept, Moment::now(), SystemTime::now());
        }
        Turn { refusals, file }
    }
}

/// Whose turn it is to log in.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    refusals: MutexGuard<'a, Refusals>,
    file: Option<&'a Path>,
}

impl Turn<'_> {
    /// How long a login with this secret must wait.
    pub(super) fn wait(&self, secret: &Secret) -> Option<Duration> {
        self.refusals.wait(Moment::now(), secret)
    }

    pub(super) fn refused(&mut self, secret: &Secret) {
        self.refusals.refused(Moment::now(), secret);
        let kept = Kept { in_a_row: self.refusals.in_a_row, last: SystemTime::now() };
        if let Some(file) = self.file
            && let Err(error) = kept.write(file)
        {
            tracing::warn!(
                file = %file.display(), %error,
                "how often Vault refused a login cannot be kept, so that a program that is started again and \
                 again may lock its name at Vault: set `state_dir` to a directory that can be written"
            );
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.refusals.succeeded();
        if let Some(file) = self.file
            && let Err(error) = std::fs::remove_file(file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(file = %file.display(), %error, "a count of refused logins stays");
        }
    }
}

/// What outlives the program, on the wall's clock: `COUNT SECONDS`, the seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    in_a_row: u32,
    last: SystemTime,
}

impl Kept {
    fn parse(text: &str) -> Option<Self> {
        let (count, seconds) = text.trim().split_once(' ')?;
        let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?;
        Some(Self { in_a_row: count.parse().ok()?, last })
    }

    fn text(&self) -> String {
        let seconds = self.last.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{} {seconds}\n", self.in_a_row)
    }

    fn read(file: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(file).ok()?)
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Whole or not at all, whoever else does the same.
        let beside = file.with_extension(std::process::id().to_string());
        std::fs::write(&beside, self.text())?;
        std::fs::rename(&beside, file)
    }
}

/// What Vault counts.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    in_a_row: u32,
    last: Option<Moment>,
    /// What was refused last.
    secret: Option<Secret>,
}

impl Refusals {
    /// How long a login with this secret must wait.
    pub(crate) fn wait(&self, now: Moment, secret: &Secret) -> Option<Duration> {
        let free = self.last? + FORGOTTEN;
        let most = if self.secret.as_ref() == Some(secret) { QUICK } else { QUICK_WITH_ANOTHER };
        (self.in_a_row >= most && now < free).then(|| now.until(free))
    }

    pub(crate) fn refused(&mut self, now: Moment, secret: &Secret) {
        let recent = self.last.is_some_and(|last| now < last + FORGOTTEN);
        self.in_a_row = if recent { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(now);
        self.secret = Some(secret.clone());
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// What this program, before it was started again, or another of the same name was refused.
    /// What they tried is not known: one more try is left to it.
    fn recall(&mut self, kept: Kept, now: Moment, wall: SystemTime) {
        // A clock that was set back since: as if it were now.
        let age = wall.duration_since(kept.last).unwrap_or_default();
        let recent = self.last.is_some_and(|last| now < last + FORGOTTEN);
        if age < FORGOTTEN && (!recent || kept.in_a_row > self.in_a_row) {
            let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            let last = Moment::from_nanos(now.as_nanos().saturating_sub(nanos));
            *self = Self { in_a_row: kept.in_a_row, last: Some(last), secret: None };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn however_often_it_is_tried_five_are_never_refused_within_fifteen_minutes() {
        let (mut refusals, mut sent) = (Refusals::default(), Vec::new());
        // A try each second for two hours, every seventh with another secret.
        for second in 1..7200 {
            let now = Moment::from_nanos(second * 1_000_000_000);
            let secret = secret(if second % 7 == 0 { "another" } else { "one" });
            if refusals.wait(now, &secret).is_none() {
                refusals.refused(now, &secret);
                sent.push(second);
            }
        }
        assert!(sent.len() > 20, "{sent:?}");
        // Vault's own count.
        let mut in_a_row = 1;
        for pair in sent.windows(2) {
            in_a_row = if pair[1] - pair[0] <= 900 { in_a_row + 1 } else { 1 };
            assert!(in_a_row < 5, "{sent:?}");
        }
    }

    #[test]
    fn a_login_that_succeeds_makes_the_next_ones_free() {
        let now = Moment::from_nanos(1_000_000_000);
        let mut refusals = Refusals::default();
        for _ in 0..QUICK {
            assert_eq!(refusals.wait(now, &secret("one")), None);
            refusals.refused(now, &secret("one"));
        }
        assert_eq!(refusals.wait(now, &secret("one")), Some(FORGOTTEN));
        assert_eq!(refusals.wait(now, &secret("another")), None);
        refusals.succeeded();
        assert_eq!(refusals.wait(now, &secret("one")), None);
    }

    #[test]
    fn however_often_it_is_started_anew_five_are_never_refused_within_fifteen_minutes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep").join("refused");
        let mut sent: Vec<u64> = Vec::new();
        // A start every 20 s for two hours, each with as many tries as it is let, with two secrets in turn.
        for start in (1..7200).step_by(20) {
            let now = Moment::from_nanos(start * 1_000_000_000);
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + start);
            let mut refusals = Refusals::default();
            for _ in 0..6 {
                if let Some(kept) = Kept::read(&file) {
                    refusals.recall(kept, now, wall);
                }
                let secret = secret(if start % 40 == 1 { "another" } else { "one" });
                if refusals.wait(now, &secret).is_none() {
                    refusals.refused(now, &secret);
                    Kept { in_a_row: refusals.in_a_row, last: wall }.write(&file).unwrap();
                    sent.push(start);
                }
            }
        }
        assert!(sent.len() > 20, "{sent:?}");
        let mut in_a_row = 1;
        for pair in sent.windows(2) {
            in_a_row = if pair[1] - pair[0] <= 900 { in_a_row + 1 } else { 1 };
            assert!(in_a_row < 5, "{sent:?}");
        }
    }

    #[test]
    fn what_is_kept_is_a_number_and_a_time_and_anything_else_is_nothing() {
        let kept = Kept { in_a_row: 3, last: SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_435_000) };
        assert_eq!(kept.text(), "3 1764435000\n");
        assert_eq!(Kept::parse(&kept.text()), Some(kept));
        for text in ["", "3", "x 1", "3 -1", "3 99999999999999999999", "{}", "3 18446744073709551615"] {
            assert_eq!(Kept::parse(text), None, "{text}");
        }
        // The wall's clock was set back: it counts as now, not as never.
        let (now, wall) = (Moment::from_nanos(5_000_000_000), SystemTime::UNIX_EPOCH);
        let mut refusals = Refusals::default();
        refusals.recall(Kept { in_a_row: 4, last: kept.last }, now, wall);
        assert_eq!(refusals.wait(now, &secret("one")), Some(FORGOTTEN));
    }
}
