//! The texts of prepared statements: one copy for all clients of a pool that prepared the same.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::scan::{Meaning, meaning};

/// A statement as it was parsed: its text and the types of its parameters.
#[derive(Debug)]
pub(super) struct Text {
    id: u64,
    /// What it is called at every server.
    name: Arc<str>,
    /// What stands behind the name in Parse.
    body: Box<[u8]>,
    meaning: Meaning,
    version: AtomicU32,
    /// A server has taken it.
    proved: AtomicBool,
}

impl Text {
    /// Numbers statements; their names at the server are made of it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The name that it has at every server.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What stands behind the name in Parse: the query, a NUL, and the types.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// Goes up when what servers have prepared is of no use any more.
    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Relaxed)
    }

    /// A server has taken it: it can be taken for granted that others will.
    pub(super) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    /// Every server has to prepare it anew.
    pub(super) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }
}

/// The name that a statement has at every server.
pub(super) fn server_name(id: u64) -> String {
    format!("leasehold_{id}")
}

/// More than `max_prepared_bytes` of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// All texts, by pool; shared by the data threads and asked once for each Parse with a name.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Table>);

type ByBody = HashMap<Box<[u8]>, Arc<Text>>;

#[derive(Debug, Default)]
struct Table {
    by_pool: HashMap<usize, ByBody>,
    bytes: usize,
    next: u64,
}

/// What a text costs beside its bytes.
const OVERHEAD: usize = 160;

impl Texts {
    /// The text that this body is, made if it is new.
    ///
    /// # Errors
    /// [`Full`]: there is no room, even without those that nobody uses any more.
    pub(super) fn share(&self, pool: usize, body: &[u8], most: usize) -> Result<Arc<Text>, Full> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = table.by_pool.get(&pool).and_then(|texts| texts.get(body)) {
            return Ok(text.clone());
        }
        let cost = body.len().saturating_mul(2).saturating_add(OVERHEAD);
        if table.bytes.saturating_add(cost) > most {
            table.by_pool.values_mut().for_each(|texts| texts.retain(|_, text| Arc::strong_count(text) > 1));
            let kept = table.by_pool.values().flat_map(HashMap::keys);
            table.bytes = kept.map(|body| body.len().saturating_mul(2).saturating_add(OVERHEAD)).sum();
            if table.bytes.saturating_add(cost) > most {
                return Err(Full);
            }
        }
        table.next = table.next.wrapping_add(1);
        let query = body.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = Arc::new(Text {
            id: table.next,
            name: server_name(table.next).into(),
            body: body.into(),
            meaning: meaning(query),
            version: AtomicU32::new(0),
            proved: AtomicBool::new(false),
        });
        table.bytes = table.bytes.saturating_add(cost);
        table.by_pool.entry(pool).or_default().insert(body.into(), text.clone());
        Ok(text)
    }

    /// A text that some server has taken.
    pub(super) fn proved(&self, pool: usize, body: &[u8]) -> Option<Arc<Text>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = table.by_pool.get(&pool)?.get(body)?;
        text.proved.load(Ordering::Relaxed).then(|| text.clone())
    }
}

/// Numbers unnamed statements of one shard.
#[derive(Debug, Default)]
pub(super) struct Serials(Cell<u64>);

impl Serials {
    pub(super) fn next(&self, shard: usize) -> u64 {
        let next = self.0.get().wrapping_add(1);
        self.0.set(next);
        u64::try_from(shard).unwrap_or_default() << 48 | next & ((1 << 48) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_all_and_room_for_those_in_use() {
        let texts = Texts::default();
        let one = texts.share(0, b"SELECT 1\0\0\0", 1000).unwrap();
        assert!(Arc::ptr_eq(&one, &texts.share(0, b"SELECT 1\0\0\0", 1000).unwrap()));
        assert!(texts.proved(0, b"SELECT 1\0\0\0").is_none());
        one.prove();
        assert!(texts.proved(0, b"SELECT 1\0\0\0").is_some());
        // Another database may have no such table.
        assert!(texts.proved(1, b"SELECT 1\0\0\0").is_none());
        let big = [b'x'; 300];
        let two = texts.share(0, &big, 1000).unwrap();
        assert_ne!(one.id(), two.id());
        let bigger = [b'y'; 301];
        assert_eq!(texts.share(0, &bigger, 1000).err(), Some(Full));
        // Nobody uses it any more: it makes room.
        drop(two);
        assert!(texts.share(0, &bigger, 1000).is_ok());
        assert!(Arc::ptr_eq(&one, &texts.share(0, b"SELECT 1\0\0\0", 1000).unwrap()));
    }
}
