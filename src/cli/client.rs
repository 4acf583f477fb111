//! A small client of the API and of the admin listener, for the commands that talk to a running service.

use crate::api::sigv4;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Who signs requests.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret: String,
}

/// One kept-alive connection.
pub struct Client {
    address: SocketAddr,
    connection: SendRequest<Full<Bytes>>,
    credentials: Option<Credentials>,
    region: String,
    keys: sigv4::SigningKeys,
}

impl Client {
    pub async fn connect(
        address: SocketAddr,
        credentials: Option<Credentials>,
        region: &str,
    ) -> Result<Client, String> {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("connect to `{address}`: {e}"))?;
        let _ = stream.set_nodelay(true);
        let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move { drop(driver.await) });
        Ok(Client { address, connection, credentials, region: region.to_owned(), keys: Default::default() })
    }

    /// Calls an operation of the API.
    pub async fn call(&mut self, operation: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let target = format!("Firehose_20150804.{operation}");
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.address.to_string();
        let mut request = Request::post("/")
            .header("host", &host)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-date", &now)
            .header("x-amz-target", &target);
        if let Some(c) = &self.credentials {
            let signed = [("host", host.as_str()), ("x-amz-date", &now), ("x-amz-target", &target)];
            let authorization =
                sigv4::sign(&self.keys, (&c.access_key_id, &c.secret), &self.region, &now, &signed, &body);
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        self.send(request).await
    }

    /// Gets a page of the admin listener.
    pub async fn get(&mut self, path: &str) -> Result<(StatusCode, Bytes), String> {
        let request = Request::get(path).header("host", self.address.to_string());
        self.send(request.body(Full::default()).map_err(|e| e.to_string())?).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let lost = |e: hyper::Error| format!("`{}` did not answer: {e}", self.address);
        self.connection.ready().await.map_err(lost)?;
        let response = self.connection.send_request(request).await.map_err(lost)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
        Ok((status, body))
    }
}

/// The body of a `PutRecordBatch`.
pub fn batch_body<'a>(stream: &str, records: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let stream = serde_json::Value::from(stream);
    let mut body = format!("{{\"DeliveryStreamName\":{stream},\"Records\":[").into_bytes();
    for (i, record) in records.enumerate() {
        body.extend_from_slice(if i == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        base64_simd::STANDARD.encode_append(record, &mut body);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// The first access key of a configuration that may put.
pub fn credentials(config: &crate::config::Config) -> Option<Credentials> {
    use secrecy::ExposeSecret;
    let mut keys = config.api.access_keys.iter();
    let (id, key) = keys.find(|(_, k)| k.allows("PutRecordBatch", None) || k.actions.iter().any(|a| a == "*"))?;
    Some(Credentials { access_key_id: id.clone(), secret: key.secret.expose_secret().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_cannot_end_its_string() {
        let body = batch_body("a\",\"x\":\"\\", [b"one".as_slice()].into_iter());
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({ "DeliveryStreamName": "a\",\"x\":\"\\", "Records": [{ "Data": "b25l" }] });
        assert_eq!(read, expected);
    }
}
