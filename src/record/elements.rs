//! Records as the elements of the `records` array of Firehose's requests to endpoints (docs/firehose.md: "HTTP endpoints"), with nothing around
//! them: `{"data":"<base64>"},{"data":"…"}`. It is what a plan's body holds where records are taken rather than objects; it
//! never outlives the process. When each record arrived is no part of the text and stands beside it.

/// What stands before a record's Base64.
pub const OPEN: &[u8] = b"{\"data\":\"";
/// What stands behind it.
pub const CLOSE: &[u8] = b"\"}";

/// Appends a record to elements, of which there are none if it `is_first`.
pub fn push(out: &mut Vec<u8>, is_first: bool, record: &[u8]) {
    if !is_first {
        out.push(b',');
    }
    out.extend_from_slice(OPEN);
    base64_simd::STANDARD.encode_append(record, out);
    out.extend_from_slice(CLOSE);
}
