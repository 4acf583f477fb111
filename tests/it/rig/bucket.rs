//! A bucket in the tests' MinIO, as somebody else sees it.

use crate::rig::postgres::RUNTIME;
use crate::rig::service::variable;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use std::collections::HashMap;
use tokio::task::JoinSet;

/// Objects read at once.
const READERS: usize = 8;

/// A client of the tests' MinIO.
pub fn client() -> Client {
    let keys = (variable("HYDRANT_TEST_S3_ACCESS_KEY"), variable("HYDRANT_TEST_S3_SECRET_KEY"));
    client_of(&variable("HYDRANT_TEST_S3_ENDPOINT"), keys)
}

/// A client of a store.
pub fn client_of(endpoint: &str, (id, secret): (String, String)) -> Client {
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true);
    Client::from_conf(config.build())
}

/// A bucket of its own for a test.
pub struct Bucket {
    client: Client,
    pub name: String,
}

/// An object as it is stored.
pub struct Object {
    pub name: String,
    pub metadata: HashMap<String, String>,
    pub bytes: Vec<u8>,
}

impl Bucket {
    pub fn new() -> Bucket {
        let client = client();
        let name = format!("test-{}", uuid::Uuid::new_v4());
        RUNTIME.block_on(client.create_bucket().bucket(&name).send()).expect("a bucket is made");
        Bucket { client, name }
    }

    /// Names and tags of all objects.
    pub fn list(&self) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.name).into_paginator().send();
        while let Some(page) = RUNTIME.block_on(pages.next()) {
            for object in page.map_err(|e| format!("list: {e:?}"))?.contents() {
                found
                    .push((object.key().unwrap_or_default().to_owned(), object.e_tag().unwrap_or_default().to_owned()));
            }
        }
        Ok(found)
    }

    /// Reads objects, and hands each to `take`.
    pub fn read<T: Send + 'static>(
        &self,
        names: Vec<String>,
        take: impl Fn(Object) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, String> {
        let mut names = names.into_iter();
        let mut taken = Vec::new();
        RUNTIME.block_on(async {
            let mut under_way = JoinSet::new();
            loop {
                while under_way.len() < READERS
                    && let Some(name) = names.next()
                {
                    let (get, take) = (self.client.get_object().bucket(&self.name).key(&name), take.clone());
                    under_way.spawn(async move {
                        let got = get.send().await.map_err(|e| format!("get `{name}`: {e:?}"))?;
                        let metadata = got.metadata().cloned().unwrap_or_default();
                        let bytes = got.body.collect().await.map_err(|e| format!("get `{name}`: {e:?}"))?.to_vec();
                        Ok::<_, String>(take(Object { name, metadata, bytes }))
                    });
                }
                match under_way.join_next().await {
                    None => return Ok(taken),
                    Some(object) => taken.push(object.map_err(|e| e.to_string())??),
                }
            }
        })
    }

    /// All objects but those of Hydrant's own, with their names.
    pub fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let mut names: Vec<String> = self.list().expect("the bucket is listed").into_iter().map(|o| o.0).collect();
        names.retain(|name| !name.starts_with("_hydrant/") && !name.starts_with("_ledger/"));
        self.read(names, |object| (object.name, object.bytes)).expect("objects are read")
    }

    /// Puts somebody else's object, over whatever is there.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let put = self.client.put_object().bucket(&self.name).key(name).body(bytes.to_vec().into());
        RUNTIME.block_on(put.send()).expect("an object is put");
    }

    pub fn delete(&self, name: &str) {
        RUNTIME.block_on(self.client.delete_object().bucket(&self.name).key(name).send()).expect("an object goes");
    }
}
