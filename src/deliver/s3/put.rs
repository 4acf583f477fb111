//! An object as one request.

use super::S3Sink;
use super::answer::S3Refusal;
use super::feed::{self, Checksums};
use crate::deliver::Shipment;
use crate::sabotage;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use std::collections::HashMap;

/// Firehose's, whatever the object holds.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";

/// Whose object it is, as [`super::look`] reads it.
pub(super) fn metadata(shipment: &Shipment) -> HashMap<String, String> {
    HashMap::from([
        ("hydrant-plan".to_owned(), shipment.id.to_string()),
        ("hydrant-outputs".to_owned(), shipment.outputs.to_string()),
        ("hydrant-digest".to_owned(), format!("{:032x}", shipment.digest)),
    ])
}

/// The value of `If-None-Match`.
pub(super) fn condition(conditional: bool) -> Option<String> {
    (conditional && !sabotage::on("upload_without_condition")).then(|| "*".to_owned())
}

/// What a store calls an object's content, without the quotes.
pub(super) fn tag(e_tag: Option<&str>) -> String {
    e_tag.unwrap_or_default().trim_matches('"').to_owned()
}

impl S3Sink {
    /// Sends the object. An unconditional write is never sent without a look directly before it.
    pub(super) async fn put(&self, shipment: &Shipment, conditional: bool) -> Result<String, S3Refusal> {
        if !conditional {
            self.is_free(&shipment.name).await?;
        }
        let name = &shipment.name;
        let request = self
            .put_request(name, conditional)
            .set_content_encoding(self.content_encoding(shipment))
            .set_metadata(Some(metadata(shipment)));
        let bytes = shipment.body.len();
        let sums = Checksums::ahead(&shipment.body, 0, bytes, self.checksum().as_ref());
        let request = request
            .set_checksum_crc32(sums.crc32)
            .set_checksum_crc32_c(sums.crc32_c)
            .set_checksum_crc64_nvme(sums.crc64_nvme)
            .set_checksum_sha256(sums.sha256);
        let sent = feed::send(&shipment.body, 0, bytes, async |stream| request.body(stream).send().await).await;
        let stored = match sent {
            Ok(stored) => stored,
            Err(e) => {
                let refusal = self.refusal("put", name, &e);
                // A store may refuse a large object before it has read it, and hang up so rudely that its answer is
                // lost: sending it again and again would never tell.
                return Err(if bytes > feed::PIECE_BYTES { self.or_found(name, refusal).await } else { refusal });
            }
        };
        sabotage::point("upload.stored");
        Ok(tag(stored.e_tag()))
    }

    /// Creates a small object that is no shipment, with all that a shipment's request has.
    pub(super) async fn put_probe(&self, name: &str, conditional: bool) -> Result<(), S3Refusal> {
        // No two probes are the same, so that two stores can be told apart by them.
        let content = uuid::Uuid::new_v4().to_string().into_bytes();
        let request = self.put_request(name, conditional).body(ByteStream::from(content));
        request.send().await.map_err(|e| self.refusal("put", name, &e))?;
        self.bucket_is_there();
        Ok(())
    }

    fn put_request(&self, name: &str, conditional: bool) -> PutObjectFluentBuilder {
        let (encryption, key) = self.encryption();
        self.client()
            .put_object()
            .bucket(&self.settings.bucket)
            .key(name)
            .set_if_none_match(condition(conditional))
            .content_type(CONTENT_TYPE)
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .set_checksum_algorithm(self.checksum())
    }
}
