//! Values that the lanes of a stream have in common: each is made once, and kept while some lane uses it.

use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// Values in use, by their keys.
pub struct Known<K, V: ?Sized>(Arc<Mutex<BTreeMap<K, Weak<V>>>>);

impl<K, V: ?Sized> Clone for Known<K, V> {
    fn clone(&self) -> Self {
        Known(self.0.clone())
    }
}

impl<K, V: ?Sized> Default for Known<K, V> {
    fn default() -> Self {
        Known(Arc::default())
    }
}

impl<K: Ord, V: ?Sized> Known<K, V> {
    /// The value of a key, made if no lane has it. Whoever comes while it is being made waits for it.
    pub fn get(&self, key: K, make: impl FnOnce() -> Result<Arc<V>>) -> Result<Arc<V>> {
        let mut known = self.0.lock().expect("nobody panics holding what lanes have in common");
        if let Some(found) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let made = make()?;
        known.retain(|_, weak| weak.strong_count() > 0);
        known.insert(key, Arc::downgrade(&made));
        Ok(made)
    }
}
