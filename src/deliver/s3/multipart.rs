//! An object in parts: created by the last request, which carries the condition.

use super::S3Sink;
use super::answer::S3Refusal;
use super::feed::{self, Checksums};
use super::put::{CONTENT_TYPE, condition, metadata, tag};
use crate::deliver::{PIECE_BYTES, Shipment};
use crate::sabotage;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use std::time::Duration;

/// An abort is a courtesy; whoever waits for it wants to try again.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

impl S3Sink {
    /// Sends the object in parts, from the start; what an earlier attempt left is not looked for.
    pub(super) async fn put_parts(&self, shipment: &Shipment, conditional: bool) -> Result<String, S3Refusal> {
        let upload = self.begin(shipment).await?;
        let done = self.send_and_complete(shipment, &upload, conditional).await;
        if done.is_err() {
            let client = self.client();
            let abort = client.abort_multipart_upload().bucket(&self.settings.bucket).key(&shipment.name);
            // Harmless if the upload is complete after all. If it fails, the parts stay until the bucket's lifecycle
            // rule removes them.
            let _ = tokio::time::timeout(ABORT_TIMEOUT, abort.upload_id(upload).send()).await;
        }
        done
    }

    async fn begin(&self, shipment: &Shipment) -> Result<String, S3Refusal> {
        let (encryption, key) = self.encryption();
        let begun = self
            .client()
            .create_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&shipment.name)
            .content_type(CONTENT_TYPE)
            .set_content_encoding(self.content_encoding(shipment))
            .set_metadata(Some(metadata(shipment)))
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .set_checksum_algorithm(self.checksum())
            .send()
            .await
            .map_err(|e| self.refusal("begin parts of", &shipment.name, &e).without_condition())?;
        self.bucket_is_there();
        let no_id = || self.unusable("begin parts of", &shipment.name, "no upload id");
        begun.upload_id.filter(|id| !id.is_empty()).ok_or_else(no_id)
    }

    async fn send_and_complete(
        &self,
        shipment: &Shipment,
        upload: &str,
        conditional: bool,
    ) -> Result<String, S3Refusal> {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < shipment.body.len() {
            let bytes = (PIECE_BYTES as u64).min(shipment.body.len() - at);
            parts.push(self.send_part(shipment, upload, parts.len() as i32 + 1, (at, bytes)).await?);
            sabotage::point("upload.part");
            at += bytes;
        }
        if !conditional {
            self.is_free(&shipment.name).await?;
        }
        let complete = self
            .client()
            .complete_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&shipment.name)
            .upload_id(upload)
            .set_if_none_match(condition(conditional))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
        let completed = match complete.send().await {
            Ok(completed) => completed,
            Err(e) => {
                let refusal = self.refusal("complete", &shipment.name, &e).on_complete();
                // A look is cheaper than all the parts again.
                return Err(self.or_found(&shipment.name, refusal).await);
            }
        };
        sabotage::point("upload.stored");
        Ok(tag(completed.e_tag()))
    }

    /// Sends part `number`: so many bytes of the body from there on.
    async fn send_part(
        &self,
        shipment: &Shipment,
        upload: &str,
        number: i32,
        (at, bytes): (u64, u64),
    ) -> Result<CompletedPart, S3Refusal> {
        let sums = Checksums::ahead(&shipment.body, at, bytes, self.checksum().as_ref());
        let request = self
            .client()
            .upload_part()
            .bucket(&self.settings.bucket)
            .key(&shipment.name)
            .upload_id(upload)
            .part_number(number)
            .set_checksum_algorithm(self.checksum())
            .set_checksum_crc32(sums.crc32)
            .set_checksum_crc32_c(sums.crc32_c)
            .set_checksum_crc64_nvme(sums.crc64_nvme)
            .set_checksum_sha256(sums.sha256);
        let sent = feed::send(&shipment.body, at, bytes, async |stream| request.body(stream).send().await)
            .await
            .map_err(|e| self.refusal(&format!("send part {number} of"), &shipment.name, &e).without_condition())?;
        Ok(completed_part(number, sent))
    }
}

/// A part as the store confirmed it, with the one checksum that was asked for.
fn completed_part(number: i32, sent: UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .set_checksum_crc32_c(sent.checksum_crc32_c)
        .set_checksum_crc64_nvme(sent.checksum_crc64_nvme)
        .set_checksum_sha256(sent.checksum_sha256)
        .build()
}
