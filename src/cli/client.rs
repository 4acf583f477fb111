//! A small client of the API and of the admin listener, for the commands that talk to a running service.

use crate::api::sigv4;
use crate::config::Config;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Who signs requests.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret: String,
}

/// One kept-alive connection, made again when the service has closed it.
pub struct Client {
    address: SocketAddr,
    tls: Option<TlsConnector>,
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
        Client::connect_with(address, None, credentials, region).await
    }

    /// The same over TLS, if there is a connector.
    pub async fn connect_with(
        address: SocketAddr,
        tls: Option<TlsConnector>,
        credentials: Option<Credentials>,
        region: &str,
    ) -> Result<Client, String> {
        let connection = open(address, tls.as_ref()).await?;
        Ok(Client { address, tls, connection, credentials, region: region.to_owned(), keys: Default::default() })
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
                sigv4::sign(&self.keys, (&c.access_key_id, &c.secret), (&self.region, &now), &signed, &body);
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

    /// Posts JSON to the admin listener.
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(path).header("host", self.address.to_string());
        let request = request.header("content-type", "application/json").body(Full::new(body));
        self.send(request.map_err(|e| e.to_string())?).await
    }

    /// Sends once: a request of which anything went out is never sent again, for it may have been carried out.
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let address = self.address;
        let lost = |e: hyper::Error| format!("`{address}` did not answer: {e}");
        let mut is_new = false;
        let response = loop {
            // The service closes connections on which nothing comes.
            if self.connection.ready().await.is_err() {
                self.connection = open(address, self.tls.as_ref()).await?;
                is_new = true;
            }
            match self.connection.try_send_request(request).await {
                Ok(response) => break response,
                Err(mut e) => match e.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(lost(e.into_error())),
                },
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await.map_err(lost)?.to_bytes();
        Ok((status, body))
    }
}

async fn open(address: SocketAddr, tls: Option<&TlsConnector>) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| format!("connect to `{address}`: {e}"))?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return start(stream).await };
    let stream = tls.connect(address.ip().into(), stream).await.map_err(|e| format!("TLS with `{address}`: {e}"))?;
    start(stream).await
}

async fn start<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move { drop(driver.await) });
    Ok(connection)
}

/// The body of a `PutRecordBatch`.
pub fn batch_body<'a>(stream: &str, records: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let name = serde_json::Value::from(stream);
    let mut body = format!("{{\"DeliveryStreamName\":{name},\"Records\":[").into_bytes();
    for (i, record) in records.enumerate() {
        body.extend_from_slice(if i == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        base64_simd::STANDARD.encode_append(record, &mut body);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// An access key of a configuration that allows `action` on `stream`; none if it has no keys, for then none is needed.
pub fn credentials(config: &Config, action: &str, stream: &str) -> Result<Option<Credentials>, String> {
    let keys = &config.api.access_keys;
    match keys.iter().find(|(_, key)| key.allows(action, Some(stream))) {
        Some((id, key)) => {
            let secret = key.secret.expose_secret().to_owned();
            Ok(Some(Credentials { access_key_id: id.clone(), secret }))
        }
        None if keys.is_empty() => Ok(None),
        None => Err(format!(
            "found {} access keys in the configuration, expected one that allows `{action}` on the stream `{stream}`",
            keys.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_key_that_signs_is_one_that_may() {
        let text = "api: { access_keys: { A: { secret: s, actions: [PutRecord] }, \
                    B: { secret: s, streams: [other] }, C: { secret: s, streams: ['web-*'] } } }";
        let config = crate::config::parse(text, "t", Path::new(""), &|_| None).unwrap();
        let key = |stream| credentials(&config, "PutRecordBatch", stream).map(|c| c.unwrap().access_key_id);
        assert_eq!((key("web-1").as_deref(), key("other").as_deref()), (Ok("C"), Ok("B")));
        let error = key("else").unwrap_err();
        assert_eq!(
            error,
            "found 3 access keys in the configuration, expected one that allows `PutRecordBatch` on the stream `else`"
        );
        let open = crate::config::parse("", "t", Path::new(""), &|_| None).unwrap();
        assert!(credentials(&open, "PutRecordBatch", "any").unwrap().is_none());
    }

    #[test]
    fn a_streams_name_cannot_end_the_text_that_it_stands_in() {
        let body = batch_body("a\"b\\", std::iter::once(b"x".as_slice()));
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["DeliveryStreamName"], "a\"b\\");
    }
}
