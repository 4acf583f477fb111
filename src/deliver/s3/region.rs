//! Where a store says that a bucket is, when it is asked in another region.

use aws_sdk_s3::config::http::HttpResponse;

const HEADER: &str = "x-amz-bucket-region";
/// The longest that AWS has is half of this.
const REGION_CHARS_MAX: usize = 32;

/// The region that an answer names: in its header, or in an error's body.
pub(super) fn named(answer: &HttpResponse) -> Option<&str> {
    answer.headers().get(HEADER).or_else(|| in_body(answer.body().bytes()?)).filter(|name| is_region(name))
}

fn in_body(body: &[u8]) -> Option<&str> {
    let body = std::str::from_utf8(body).ok()?;
    Some(body.split_once("<Region>")?.1.split_once("</Region>")?.0.trim())
}

/// Whether it is shown: a store may answer anything.
fn is_region(name: &str) -> bool {
    (1..=REGION_CHARS_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
