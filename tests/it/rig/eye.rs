//! A bucket of the tests' MinIO for the `s3` sink alone: how it is reached, and what stands there.

use super::bucket::{client, client_of};
use super::postgres::RUNTIME;
use super::service::variable;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use hydrant::config::{Checksum, Conditional, ObjectEncoding, S3 as Settings};
use hydrant::deliver::s3::S3Sink;
use std::time::Duration;
use uuid::Uuid;

/// Settings for a bucket of the MinIO that `tests/run` started.
pub fn settings(bucket: &str) -> Settings {
    Settings {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        error_prefix: None,
        endpoint: Some(variable("HYDRANT_TEST_S3_ENDPOINT")),
        region: "us-east-1".to_owned(),
        path_style: None,
        access_key_id: Some(variable("HYDRANT_TEST_S3_ACCESS_KEY")),
        secret_access_key: Some(variable("HYDRANT_TEST_S3_SECRET_KEY").into()),
        session_token: None,
        role_arn: None,
        storage_class: None,
        sse: None,
        content_encoding: ObjectEncoding::default(),
        checksum: Checksum::default(),
        concurrency: 4,
        conditional: Conditional::default(),
        timeout: Duration::from_secs(60),
    }
}

pub fn connect(settings: &Settings) -> S3Sink {
    S3Sink::connect(settings, RUNTIME.handle().clone()).expect("settings are complete")
}

/// MinIO as somebody else sees it.
pub struct Eye {
    client: Client,
    pub bucket: String,
}

impl Eye {
    /// With a new bucket.
    pub fn new() -> Eye {
        let eye = Eye { client: client(), bucket: format!("s3-{}", Uuid::new_v4()) };
        RUNTIME.block_on(eye.client.create_bucket().bucket(&eye.bucket).send()).expect("a bucket is made");
        eye
    }

    /// Of another store's bucket.
    pub fn at(endpoint: &str, keys: (String, String), bucket: &str) -> Eye {
        Eye { client: client_of(endpoint, keys), bucket: bucket.to_owned() }
    }

    pub fn sink(&self) -> S3Sink {
        connect(&settings(&self.bucket))
    }

    pub fn head(&self, name: &str) -> HeadObjectOutput {
        let head = self.client.head_object().bucket(&self.bucket).key(name).checksum_mode(ChecksumMode::Enabled);
        RUNTIME.block_on(head.send()).expect("the object is there")
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        RUNTIME.block_on(async {
            let got =
                self.client.get_object().bucket(&self.bucket).key(name).send().await.expect("the object is there");
            got.body.collect().await.expect("the object can be read").to_vec()
        })
    }

    /// Puts somebody else's object.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let put = self.client.put_object().bucket(&self.bucket).key(name).body(bytes.to_vec().into());
        RUNTIME.block_on(put.send()).expect("an object is put");
    }

    pub fn remove(&self, name: &str) {
        let remove = self.client.delete_object().bucket(&self.bucket).key(name);
        RUNTIME.block_on(remove.send()).expect("an object is removed");
    }

    pub fn names(&self) -> Vec<String> {
        let list = RUNTIME.block_on(self.client.list_objects_v2().bucket(&self.bucket).send()).expect("it lists");
        list.contents().iter().map(|o| o.key().expect("an object has a name").to_owned()).collect()
    }

    pub fn open_uploads(&self, name: &str) -> usize {
        // MinIO lists the uploads of a whole name only.
        let list = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(name).send();
        RUNTIME.block_on(list).expect("it lists").uploads().len()
    }
}
