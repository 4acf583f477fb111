//! AWS Signature Version 4, verified over what was received: the signed headers as they came and the hash of the body
//! as it was read. (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>)
//!
//! Every check that depends on a secret takes the same time for a known and an unknown access key. Presigned URLs,
//! unsigned and streamed payloads belong to S3 and are refused.

use super::error::ApiError;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;
use subtle::ConstantTimeEq;

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "firehose";
/// Headers that must be signed, and stand once: without them a signature could be moved to another host or operation. So
/// must the one that says the time.
const SIGNED: [&str; 2] = ["host", "x-amz-target"];
/// A time in a string to sign.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The pieces of an `Authorization` header.
struct Authorization<'a> {
    key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Verifies a request `POST /` and returns the access key id that signed it.
///
/// `secret` looks up a key's secret; `now` is seconds since the Unix epoch, `skew` by how much a request's time may differ;
/// `keys` is kept between calls.
pub fn verify<'a>(
    headers: &'a HeaderMap,
    body: &[u8],
    (now, skew): (u64, Duration),
    secret: &dyn Fn(&str) -> Option<String>,
    keys: &SigningKeys,
) -> Result<&'a str, ApiError> {
    let (given, date_header, date) = check_head(headers, now, skew)?;
    let body_hash = hex(&Sha256::digest(body));
    if let Some(claimed) = headers.get("x-amz-content-sha256")
        && claimed.as_bytes() != body_hash.as_bytes()
    {
        return Err(mismatch());
    }
    let canonical = canonical_request(headers, given.signed_headers, date_header, &body_hash)?;
    let scope = format!("{}/{}/{}/aws4_request", given.date, given.region, given.service);
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let known = secret(given.key);
    let (id, signing) = known.as_deref().map_or(("", "no such key"), |secret| (given.key, secret));
    let key = keys.key(id, signing, given.date, given.region);
    let expected = hex(&mac(&key, to_sign.as_bytes()));
    let equal: bool = expected.as_bytes().ct_eq(given.signature.as_bytes()).into();
    match (known.is_some(), equal) {
        (false, _) => Err(unrecognized()),
        (true, false) => Err(mismatch()),
        (true, true) => Ok(given.key),
    }
}

/// The access key id of a request that passes every check that needs neither its body nor a secret: before any of the body
/// is taken. `is_known` tells whether there is such a key.
pub fn claimed_key<'a>(
    headers: &'a HeaderMap,
    now: u64,
    skew: Duration,
    is_known: &dyn Fn(&str) -> bool,
) -> Result<&'a str, ApiError> {
    let (given, ..) = check_head(headers, now, skew)?;
    if is_known(given.key) { Ok(given.key) } else { Err(unrecognized()) }
}

/// The pieces of the signature, and the request's date, of headers that are in order.
fn check_head<'a>(
    headers: &'a HeaderMap,
    now: u64,
    skew: Duration,
) -> Result<(Authorization<'a>, &'static str, String), ApiError> {
    let header = headers.get("authorization").ok_or_else(missing_token)?;
    let header = header.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
    let given = parse(header)?;
    let (date_header, date) = signing_time(headers)?;
    check_scope(&given, date_header)?;
    check_time(&date, given.date, now, skew)?;
    Ok((given, date_header, date))
}

fn unrecognized() -> ApiError {
    ApiError::new(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
}

fn missing_token() -> ApiError {
    ApiError::new(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidSignatureException", message)
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

fn parse(header: &str) -> Result<Authorization<'_>, ApiError> {
    let Some(rest) = header.strip_prefix(ALGORITHM).and_then(|r| r.strip_prefix(' ')) else {
        return Err(incomplete(format!("Authorization header requires the algorithm '{ALGORITHM}'.")));
    };
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for part in rest.split(',') {
        let slot = match part.trim().split_once('=') {
            Some(("Credential", value)) => (&mut credential, value),
            Some(("SignedHeaders", value)) => (&mut signed, value),
            Some(("Signature", value)) => (&mut signature, value),
            _ => return Err(incomplete("Authorization header has an unknown part.")),
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(incomplete("Authorization header has a part twice."));
        }
    }
    let credential: &str = credential.ok_or_else(|| need_part("Credential"))?;
    let signed_headers: &str = signed.ok_or_else(|| need_part("SignedHeaders"))?;
    let signature: &str = signature.ok_or_else(|| need_part("Signature"))?;
    let mut scope = credential.rsplitn(5, '/');
    let mut next = || scope.next();
    match (next(), next(), next(), next(), next()) {
        (Some("aws4_request"), Some(service), Some(region), Some(date), Some(key)) if !key.is_empty() => {
            Ok(Authorization { key, date, region, service, signed_headers, signature })
        }
        _ => Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, ending in 'aws4_request', got '{credential}'"
        ))),
    }
}

fn need_part(name: &str) -> ApiError {
    incomplete(format!("Authorization header requires '{name}' parameter."))
}

/// The header that says when a request was signed, and its time as it stands in the string to sign. `Date` counts where
/// there is no `X-Amz-Date`, and is written as HTTP writes it or as `X-Amz-Date` is.
fn signing_time(headers: &HeaderMap) -> Result<(&'static str, String), ApiError> {
    if headers.contains_key("x-amz-date") {
        return Ok(("x-amz-date", one(headers, "x-amz-date")?.to_owned()));
    }
    if !headers.contains_key("date") {
        let message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
        return Err(incomplete(message));
    }
    let date = one(headers, "date")?;
    let http = jiff::fmt::rfc2822::parse(date);
    Ok(("date", http.map_or_else(|_| date.to_owned(), |at| at.timestamp().strftime(TIME_FORMAT).to_string())))
}

fn check_scope(given: &Authorization, date_header: &str) -> Result<(), ApiError> {
    if given.service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    let signed: Vec<&str> = given.signed_headers.split(';').collect();
    if let Some(absent) = SIGNED.iter().chain([&date_header]).find(|s| !signed.contains(s)) {
        return Err(invalid(format!("'{absent}' must be a 'SignedHeader' in the AWS Authorization.")));
    }
    Ok(())
}

fn check_time(date: &str, scope_date: &str, now: u64, skew: Duration) -> Result<(), ApiError> {
    let parsed = jiff::civil::DateTime::strptime(TIME_FORMAT, date);
    let at = parsed.ok().and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let at = at.ok_or_else(|| incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{date}'.")))?;
    if date.get(..8) != Some(scope_date) {
        return Err(invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date."));
    }
    let (at, now, skew) = (at.timestamp().as_second(), now as i64, skew.as_secs() as i64);
    let minutes = skew / 60;
    let text = |s: i64| {
        jiff::Timestamp::from_second(s).map_or_else(|_| s.to_string(), |t| t.strftime(TIME_FORMAT).to_string())
    };
    if at < now - skew {
        let (limit, now) = (text(now - skew), text(now));
        return Err(invalid(format!("Signature expired: {date} is now earlier than {limit} ({now} - {minutes} min.)")));
    }
    if at > now + skew {
        let (limit, now) = (text(now + skew), text(now));
        return Err(invalid(format!(
            "Signature not yet current: {date} is still later than {limit} ({now} + {minutes} min.)"
        )));
    }
    Ok(())
}

/// The value of a header that may stand only once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, ApiError> {
    let mut all = headers.get_all(name).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(incomplete(format!("Authorization header requires existence of exactly one '{name}' header.")));
    };
    value.to_str().map_err(|_| incomplete(format!("The '{name}' header is not ASCII.")))
}

fn canonical_request(
    headers: &HeaderMap,
    signed: &str,
    date_header: &str,
    body_hash: &str,
) -> Result<String, ApiError> {
    let mut canonical = String::from("POST\n/\n\n");
    let mut before = "";
    for name in signed.split(';') {
        if name <= before || name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(incomplete("SignedHeaders must be lower-case, sorted, and each once."));
        }
        before = name;
        if name == date_header || SIGNED.contains(&name) {
            one(headers, name)?;
        }
        canonical.push_str(name);
        canonical.push(':');
        push_values(&mut canonical, headers, name)?;
        canonical.push('\n');
    }
    let _ = write!(canonical, "\n{signed}\n{body_hash}");
    Ok(canonical)
}

/// The values of a header in the order in which they came, with commas between them.
fn push_values(canonical: &mut String, headers: &HeaderMap, name: &str) -> Result<(), ApiError> {
    if !headers.contains_key(name) {
        return Err(incomplete(format!("Authorization header requires existence of a '{name}' header.")));
    }
    for (i, value) in headers.get_all(name).iter().enumerate() {
        let value = value.to_str().map_err(|_| incomplete(format!("The '{name}' header is not ASCII.")))?;
        if i > 0 {
            canonical.push(',');
        }
        for (i, word) in value.split(' ').filter(|w| !w.is_empty()).enumerate() {
            if i > 0 {
                canonical.push(' ');
            }
            canonical.push_str(word.trim());
        }
    }
    Ok(())
}

/// The last signing key of each access key: it changes once a day, and takes four times the work of a signature.
#[derive(Default)]
pub struct SigningKeys(Mutex<HashMap<String, Derived>>);

struct Derived {
    secret: SecretString,
    date: String,
    region: String,
    key: [u8; 32],
}

impl SigningKeys {
    /// `id` is an access key's id, or a fixed word for all unknown ones, so that their number stays bounded.
    fn key(&self, id: &str, secret: &str, date: &str, region: &str) -> [u8; 32] {
        let mut derived = self.0.lock().expect("nobody panics holding it");
        let fits = |d: &&Derived| d.date == date && d.region == region && d.secret.expose_secret() == secret;
        if let Some(known) = derived.get(id).filter(fits) {
            return known.key;
        }
        let mut key = mac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
        for part in [region, SERVICE, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let (secret, date, region) = (secret.into(), date.to_owned(), region.to_owned());
        derived.insert(id.to_owned(), Derived { secret, date, region, key });
        key
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|digit| DIGITS[digit as usize] as char).collect()
}

/// The `Authorization` header of a request `POST /` to a region, for our own clients. `date` is `yyyymmddThhmmssZ`; `signed`
/// are the signed headers, lower-case and sorted.
pub fn sign(
    keys: &SigningKeys,
    (key, secret): (&str, &str),
    (region, date): (&str, &str),
    signed: &[(&str, &str)],
    body: &[u8],
) -> String {
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = String::from("POST\n/\n\n");
    for (name, value) in signed {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(body)));
    let day = &date[..8];
    let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signature = hex(&mac(&keys.key(key, secret, day, region), to_sign.as_bytes()));
    format!("{ALGORITHM} Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}")
}
