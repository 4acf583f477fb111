//! Places that take objects: as destinations, for backups and failures, and where warehouses stage.

use super::checker::Keys;
use super::destination_settings::{DeliverySettings, DestinationSettings};
use super::place::one_of;
use super::rules::{LoginSettings, Rules, is_endpoint};
use crate::deliver::local::settings::Local;
use crate::deliver::s3::settings::{S3, Sse};
use crate::destination::{DestinationKind, StoreName};
use std::time::Duration;

/// Shipments at once to a directory: what one disk does well.
pub const DIRECTORY_SHIPMENTS_MAX: usize = 4;

const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
];

/// A place that takes objects.
#[derive(Clone, Copy, Debug)]
pub enum Store<'c> {
    S3(&'c S3),
    Local(&'c Local),
}

impl Store<'_> {
    pub fn kind(self) -> DestinationKind {
        match self {
            Store::S3(_) => DestinationKind::S3,
            Store::Local(_) => DestinationKind::Local,
        }
    }

    /// Bucket or directory, as epochs' definitions have it.
    pub fn place(self) -> String {
        match self {
            Store::S3(s3) => s3.bucket.clone(),
            Store::Local(local) => local.dir.display().to_string(),
        }
    }

    /// The name that plans and the ledger have for it.
    pub fn name(self) -> StoreName {
        match self {
            Store::S3(s3) => StoreName::Bucket(s3.bucket.clone()),
            Store::Local(local) => StoreName::Directory(local.dir.clone()),
        }
    }

    pub fn prefix(&self) -> &str {
        match self {
            Store::S3(s3) => &s3.prefix,
            Store::Local(local) => &local.prefix,
        }
    }

    pub fn error_prefix(&self) -> Option<&str> {
        match self {
            Store::S3(s3) => s3.error_prefix.as_deref(),
            Store::Local(local) => local.error_prefix.as_deref(),
        }
    }

    /// How shipments are given to it.
    pub fn delivery(self) -> DeliverySettings {
        DeliverySettings::of_store(match self {
            Store::S3(s3) => s3.concurrency as usize,
            Store::Local(_) => DIRECTORY_SHIPMENTS_MAX,
        })
    }

    /// Reports what is wrong with its settings, which stand below `keys`.
    pub(super) fn check(self, rules: &mut Rules, keys: &Keys) {
        match self {
            Store::S3(s3) => check_s3(rules, &[keys, &["s3"]].concat(), s3),
            Store::Local(Local { dir, .. }) if dir.as_os_str().is_empty() => {
                rules.expected(&[keys, &["local", "dir"]].concat(), "a folder");
            }
            Store::Local(_) => {}
        }
    }
}

impl DestinationSettings for S3 {
    fn kind(&self) -> DestinationKind {
        DestinationKind::S3
    }

    fn store(&self) -> Option<Store<'_>> {
        Some(Store::S3(self))
    }

    fn delivery(&self) -> DeliverySettings {
        Store::S3(self).delivery()
    }
}

impl DestinationSettings for Local {
    fn kind(&self) -> DestinationKind {
        DestinationKind::Local
    }

    fn store(&self) -> Option<Store<'_>> {
        Some(Store::Local(self))
    }

    fn delivery(&self) -> DeliverySettings {
        Store::Local(self).delivery()
    }
}

fn check_s3(rules: &mut Rules, keys: &Keys, s3: &S3) {
    let at = |key: &'static str| [keys, &[key]].concat();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if !(1..=255).contains(&s3.bucket.len()) || !s3.bucket.bytes().all(is_name) {
        rules.expected(&at("bucket"), "a bucket name: 1 to 255 of the characters a-z A-Z 0-9 _ . -");
    }
    if s3.endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
        rules.expected(&at("endpoint"), "`http://` or `https://` with a host and perhaps a port, and nothing after");
    }
    let key = s3.access_key_id.is_some();
    let login = LoginSettings {
        region: &s3.region,
        key,
        secret: s3.secret_access_key.is_some(),
        token: s3.session_token.is_some(),
        role: s3.role_arn.as_deref(),
    };
    rules.login(keys, &login);
    if s3.storage_class.as_deref().is_some_and(|class| !STORAGE_CLASSES.contains(&class)) {
        rules.expected(&at("storage_class"), &one_of(&STORAGE_CLASSES));
    }
    if matches!(&s3.sse, Some(Sse::KmsKeyId(id)) if id.is_empty()) {
        rules.expected(&[keys, &["sse", "kms_key_id"]].concat(), "a key id, alias or ARN");
    }
    rules.number(&at("concurrency"), s3.concurrency, 1, 256);
    rules.time(&at("timeout"), s3.timeout, Duration::from_secs(1), Duration::from_secs(900));
}
