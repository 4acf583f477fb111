//! What stands at a name.

use super::S3Sink;
use super::answer::S3Refusal;
use super::put::tag;
use crate::deliver::Spool;
use crate::deliver::object::{Failure, Looked, Owner};
use std::collections::HashMap;
use std::sync::atomic::Ordering;

impl S3Sink {
    /// Asks for the object; never answers `Looked::Failed`.
    pub(super) async fn find(&self, name: &str) -> Result<Looked, S3Refusal> {
        match self.client().head_object().bucket(&self.settings.bucket).key(name).send().await {
            Ok(found) => {
                self.bucket_is_there();
                Ok(Looked::Present { owner: found.metadata().and_then(owner), tag: tag(found.e_tag()) })
            }
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 404) => {
                self.see_bucket().await?;
                Ok(Looked::Absent)
            }
            Err(e) => Err(self.refusal("look at", name, &e)),
        }
    }

    /// The names that begin with `prefix`, in order.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let found = self.runtime.block_on(async {
            let mut names = Vec::new();
            let request = self.client().list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
            let mut pages = request.into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| self.refusal("list", prefix, &e))?;
                names.extend(page.contents().iter().filter_map(|o| o.key().map(str::to_owned)));
            }
            Ok(names)
        });
        found.map_err(|refusal| self.failure(refusal))
    }

    /// S3 says the same whether it was there or not.
    pub(super) fn delete(&self, name: &str) -> Result<(), Failure> {
        let deleted = self.runtime.block_on(async {
            let request = self.client().delete_object().bucket(&self.settings.bucket).key(name);
            request.send().await.map_err(|e| self.refusal("remove", name, &e))
        });
        deleted.map(drop).map_err(|refusal| self.failure(refusal))
    }

    /// Appends an object's bytes, piece by piece.
    pub(super) fn append(&self, name: &str, to: &mut Spool) -> Result<(), Failure> {
        let found = self.runtime.block_on(async {
            let object = self.client().get_object().bucket(&self.settings.bucket).key(name).send().await;
            let mut body = object.map_err(|e| self.refusal("read", name, &e))?.body;
            while let Some(piece) = body.next().await {
                match piece {
                    Ok(piece) => to.tail().extend_from_slice(&piece),
                    Err(e) => return Ok(Err(format!("read `{name}`: {e}"))),
                }
                // Without room for scratch it stays in memory.
                let _ = to.settle();
            }
            Ok(Ok(()))
        });
        let read = found.map_err(|refusal| self.failure(refusal))?;
        read.map_err(|reason| Failure { misconfigured: false, nowhere: false, gone: false, reason })
    }

    /// Refused as taken if something stands at the name.
    pub(super) async fn is_free(&self, name: &str) -> Result<(), S3Refusal> {
        match self.find(name).await? {
            Looked::Absent => Ok(()),
            _ => Err(self.taken(name)),
        }
    }

    /// What a refusal means once a look at the name, if its request may have been carried out, has found something
    /// there or not. A look that fails leaves it as it is.
    pub(super) async fn or_found(&self, name: &str, refusal: S3Refusal) -> S3Refusal {
        if !refusal.outcome_unknown {
            return refusal;
        }
        match self.find(name).await {
            Ok(Looked::Present { .. }) => self.taken(name),
            _ => refusal,
        }
    }

    /// The answer to `HEAD` has no body that would tell a missing object from a missing bucket.
    async fn see_bucket(&self) -> Result<(), S3Refusal> {
        if self.bucket_seen.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.client().head_bucket().bucket(&self.settings.bucket).send().await {
            Ok(_) => {
                self.bucket_is_there();
                Ok(())
            }
            Err(e) if e.raw_response().is_some_and(|r| r.status().as_u16() == 404) => Err(self.no_bucket()),
            Err(e) => Err(self.refusal("look for", "", &e)),
        }
    }
}

/// Ours if it says so completely.
fn owner(metadata: &HashMap<String, String>) -> Option<Owner> {
    let digest = metadata.get("hydrant-digest")?;
    Some(Owner {
        id: metadata.get("hydrant-plan")?.parse().ok()?,
        outputs: metadata.get("hydrant-outputs")?.parse().ok()?,
        digest: u128::from_str_radix(digest, 16).ok().filter(|_| digest.len() == 32)?,
    })
}
