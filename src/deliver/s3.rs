//! A bucket of S3, or of a store that speaks its protocol.
//!
//! Promises: an object is created whole or not at all, never over another (`If-None-Match: *`, on the last request of
//! an upload in parts), and carries whose it is in its metadata: `hydrant-plan`, `hydrant-outputs`, `hydrant-digest`.
//! An object is never held in memory whole: up to 64 MiB it is one request, above that parts of 16 MiB one at a time,
//! and requests are fed in pieces of 1 MiB. Parts are never resumed: an upload that fails is aborted as far as the
//! store lets us, and one that a crash cuts short is the matter of the bucket's lifecycle rule for incomplete uploads.
//!
//! Does not promise: to try again (the SDK's retries are off; the stream's are on), nor, on a store without conditions,
//! to see an object that somebody creates between our look and our write; that look is made directly before the write.
//!
//! Every answer that is no success goes through [`classify`]. The way: `connect` (settings to client) -> `put` |
//! `multipart`, over `feed` (the bytes) -> `answer` (what came back) -> `look`.

mod answer;
mod connect;
mod feed;
mod look;
mod multipart;
mod put;
mod region;
pub mod settings;

pub use answer::{S3Answer, classify};

use super::object::{Created, Failure, Looked, ObjectStore, attempt};
use super::{Attempt, SINGLE_PUT_BYTES_MAX, Shelf, Shipment, Sink, Spool};
use crate::config;
use answer::S3Refusal;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use tokio::runtime::Handle;

/// A bucket that takes objects. All calls block and belong on threads that may: a call from an asynchronous task panics.
pub struct S3Sink {
    runtime: Handle,
    settings: config::S3,
    /// Replaced when its credentials are refused, so that new ones are read from where they come from.
    client: RwLock<Client>,
    /// Whether the store is believed to heed `If-None-Match: *`.
    conditions: AtomicBool,
    /// Whether this process has seen that the bucket exists: then a 404 can only mean the object.
    bucket_seen: AtomicBool,
}

impl S3Sink {
    /// Makes the client. Nothing is sent yet, and credentials are read when they are first needed.
    pub fn connect(settings: &config::S3, runtime: Handle) -> crate::error::Result<S3Sink> {
        let client = runtime.block_on(connect::client(settings))?;
        Ok(S3Sink {
            runtime,
            settings: settings.clone(),
            client: RwLock::new(client),
            conditions: AtomicBool::new(settings.conditional == config::Conditional::Auto),
            bucket_seen: AtomicBool::new(false),
        })
    }

    /// Finds out whether the store heeds `If-None-Match: *`, and remembers it, by creating the object `key` until it is
    /// refused or has been created twice. Until then it is believed to. With `conditional: head` nothing is sent.
    pub fn probe(&self, key: &str) -> Result<bool, Failure> {
        if self.settings.conditional == config::Conditional::Head {
            return Ok(false);
        }
        let heeds = self.runtime.block_on(self.find_out(key)).map_err(|refusal| self.failure(refusal))?;
        self.conditions.store(heeds, Ordering::Release);
        Ok(heeds)
    }

    async fn find_out(&self, key: &str) -> Result<bool, S3Refusal> {
        for _ in 0..2 {
            match self.put_probe(key, true).await {
                Ok(()) => {}
                Err(refusal) if refusal.answer == S3Answer::Taken => return Ok(true),
                // Unless it is something else that the store does not have.
                Err(refusal) if refusal.answer == S3Answer::NotImplemented => {
                    return self.put_probe(key, false).await.map(|()| false);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(false)
    }

    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bucket_is_there(&self) {
        self.bucket_seen.store(true, Ordering::Release);
    }

    /// What a refusal means for whoever asked; credentials that were refused are read anew for the next attempt.
    fn failure(&self, refusal: S3Refusal) -> Failure {
        if refusal.answer == S3Answer::Credentials && connect::may_change(&self.settings) {
            // A failure here would be the next attempt's again.
            if let Ok(client) = self.runtime.block_on(connect::client(&self.settings)) {
                *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
            }
        }
        refusal.into()
    }

    fn created(&self, refusal: S3Refusal, conditional: bool) -> Created {
        match refusal.answer {
            S3Answer::Taken => Created::Taken,
            S3Answer::NotImplemented if conditional => {
                self.conditions.store(false, Ordering::Release);
                let reason = format!("{}; from now on it is asked first", refusal.reason);
                Created::Failed(Failure { misconfigured: false, nowhere: false, gone: false, reason })
            }
            _ => Created::Failed(self.failure(refusal)),
        }
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.settings.storage_class.as_deref().map(StorageClass::from)
    }

    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.settings.sse {
            None => (None, None),
            Some(config::Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(config::Sse::KmsKeyId(key)) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
        }
    }

    /// What the object says of how it is encoded.
    fn content_encoding(&self, shipment: &Shipment) -> Option<String> {
        let is_said = self.settings.content_encoding == config::ObjectEncoding::Auto;
        shipment.content_encoding.filter(|_| is_said).map(str::to_owned)
    }

    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        match self.settings.checksum {
            config::Checksum::Crc64nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            config::Checksum::Crc32 => Some(ChecksumAlgorithm::Crc32),
            config::Checksum::Crc32c => Some(ChecksumAlgorithm::Crc32C),
            config::Checksum::Sha256 => Some(ChecksumAlgorithm::Sha256),
            config::Checksum::None => None,
        }
    }
}

impl ObjectStore for S3Sink {
    fn create(&self, shipment: &Shipment) -> Created {
        let conditional = self.has_conditions();
        let whole = shipment.body.len() <= SINGLE_PUT_BYTES_MAX;
        let sent = self.runtime.block_on(async {
            if whole { self.put(shipment, conditional).await } else { self.put_parts(shipment, conditional).await }
        });
        match sent {
            Ok(tag) => {
                self.bucket_is_there();
                Created::Stored { tag }
            }
            Err(refusal) => self.created(refusal, conditional),
        }
    }

    fn look(&self, name: &str) -> Looked {
        self.runtime.block_on(self.find(name)).unwrap_or_else(|refusal| Looked::Failed(self.failure(refusal)))
    }

    fn has_conditions(&self) -> bool {
        self.conditions.load(Ordering::Acquire)
    }
}

impl Shelf for S3Sink {
    fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        self.names(prefix)
    }

    fn fetch(&self, name: &str, to: &mut Spool) -> Result<(), Failure> {
        self.append(name, to)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.delete(name)
    }
}

impl Sink for S3Sink {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        attempt(self, shipment)
    }
}
