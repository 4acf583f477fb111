//! A stand-in for Redshift: a front that speaks PostgreSQL's protocol, has a real PostgreSQL carry out what Redshift
//! has in common with it, and carries out `COPY … FROM 's3://…' MANIFEST` itself, from the tests' real S3.
//!
//! Where Redshift refuses it refuses in Redshift's words, as far as they are documented. What it does not know of
//! Redshift: snapshot isolation, case folding of quoted names, types that PostgreSQL lacks.

mod copy;
mod statement;

use crate::rig::postgres::{Database, RUNTIME};
use async_trait::async_trait;
use futures_util::{Sink, stream};
use pgwire::api::auth::cleartext::CleartextPasswordAuthStartupHandler;
use pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler};
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireServerHandlers, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::tokio::process_socket;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What Redshift has and PostgreSQL has not.
const REDSHIFT: &str = "CREATE FUNCTION getdate() RETURNS timestamp LANGUAGE sql AS 'SELECT localtimestamp';
    CREATE TABLE sys_load_error_detail (file_name text, line_number bigint, column_name text, error_message text,
        start_time timestamp NOT NULL DEFAULT now());
    GRANT SELECT ON sys_load_error_detail TO public";

/// The front of one database.
pub struct Front {
    pub address: SocketAddr,
    place: Arc<Place>,
    listening: AbortHandle,
}

#[derive(Debug)]
struct Place {
    port: u16,
    /// The COPY statements that came, as they came.
    copies: Mutex<Vec<String>>,
}

impl Front {
    pub fn of(database: &Database) -> Front {
        database.run(REDSHIFT);
        let place = Arc::new(Place { port: database.server.port, copies: Mutex::default() });
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let theirs = place.clone();
        let listening = RUNTIME.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let session = Arc::new(Session { place: theirs.clone(), upstream: OnceCell::new() });
                tokio::spawn(process_socket(socket, None, Handlers(session)));
            }
        });
        Front { address, place, listening: listening.abort_handle() }
    }

    pub fn copies(&self) -> Vec<String> {
        self.place.copies.lock().expect("no test panics here").clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One client, and its session with PostgreSQL.
#[derive(Debug)]
struct Session {
    place: Arc<Place>,
    upstream: OnceCell<Upstream>,
}

struct Upstream {
    client: Client,
    /// For what has to stay when the client's transaction does not.
    aside: Client,
}

impl Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

struct Handlers(Arc<Session>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.0.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        let source = Logins(self.0.clone());
        Arc::new(CleartextPasswordAuthStartupHandler::new(source, DefaultServerParameterProvider::default()))
    }
}

/// Whom PostgreSQL lets in is let in.
#[derive(Debug)]
struct Logins(Arc<Session>);

#[async_trait]
impl AuthSource for Logins {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        Err(PgWireError::InvalidPassword(login.user().unwrap_or_default().to_owned()))
    }

    async fn verify_password(&self, login: &LoginInfo, password: &[u8]) -> PgWireResult<Option<()>> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.0.place.port).password(password);
        config.user(login.user().unwrap_or_default()).dbname(login.database().unwrap_or_default());
        let client = connect(&config).await?;
        let aside = connect(config.user(crate::rig::postgres::USER).password(crate::rig::postgres::PASSWORD)).await?;
        self.0.upstream.set(Upstream { client, aside }).expect("a session logs in once");
        Ok(Some(()))
    }
}

async fn connect(config: &tokio_postgres::Config) -> PgWireResult<Client> {
    let (client, connection) = config.connect(NoTls).await.map_err(|e| PgWireError::UserError(Box::new(info(&e))))?;
    tokio::spawn(connection);
    Ok(client)
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, _: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let upstream = self.upstream.get().expect("only who has logged in asks");
        if query.trim_start().to_uppercase().starts_with("COPY ") {
            self.place.copies.lock().expect("no test panics here").push(query.to_owned());
            return Ok(vec![match copy::copy(&upstream.client, &upstream.aside, query).await {
                Ok(rows) => Response::Execution(Tag::new("COPY").with_rows(rows as usize)),
                Err(refusal) => Response::Error(Box::new(refusal)),
            }]);
        }
        match upstream.client.simple_query(query).await {
            Ok(answers) => responses(&answers),
            // As the database's, its end is this session's.
            Err(e) if e.is_closed() => Err(PgWireError::IoError(std::io::ErrorKind::ConnectionReset.into())),
            Err(e) => Ok(vec![Response::Error(Box::new(info(&e)))]),
        }
    }
}

/// PostgreSQL's answers, passed on.
fn responses(answers: &[SimpleQueryMessage]) -> PgWireResult<Vec<Response>> {
    let (mut responses, mut open) = (Vec::new(), None);
    for answer in answers {
        match answer {
            SimpleQueryMessage::RowDescription(columns) => {
                let field = |name: &str| FieldInfo::new(name.to_owned(), None, None, Type::VARCHAR, FieldFormat::Text);
                open = Some((Arc::new(columns.iter().map(|c| field(c.name())).collect::<Vec<_>>()), Vec::new()));
            }
            SimpleQueryMessage::Row(row) => {
                let (fields, rows) = open.as_mut().expect("a row follows its description");
                let mut encoder = DataRowEncoder::new(fields.clone());
                for i in 0..row.len() {
                    encoder.encode_field(&row.get(i))?;
                }
                rows.push(Ok(encoder.take_row()));
            }
            SimpleQueryMessage::CommandComplete(count) => responses.push(match open.take() {
                Some((fields, rows)) => Response::Query(QueryResponse::new(fields, stream::iter(rows))),
                None => Response::Execution(Tag::new("DONE").with_rows(*count as usize)),
            }),
            _ => {}
        }
    }
    Ok(responses)
}

/// PostgreSQL's complaint, passed on.
fn info(e: &tokio_postgres::Error) -> ErrorInfo {
    let Some(e) = e.as_db_error() else { return ErrorInfo::new("FATAL".into(), "08006".into(), e.to_string()) };
    let mut info = ErrorInfo::new(e.severity().to_owned(), e.code().code().to_owned(), e.message().to_owned());
    info.detail = e.detail().map(str::to_owned);
    info.hint = e.hint().map(str::to_owned);
    info.where_context = e.where_().map(str::to_owned);
    info
}
