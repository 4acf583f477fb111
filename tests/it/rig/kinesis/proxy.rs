//! A proxy between a client of Kinesis, or of DynamoDB, and a server: it counts what is asked and answered, and does what AWS does but the
//! servers of the tests never do: refuse, lose, delay, hide.

use super::frames::Frame;
use crate::rig::postgres::RUNTIME;
use crate::rig::service::PATIENCE;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// What to do to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with this error as AWS frames it and passes nothing on: 500 for `InternalFailure`, else 400.
    Error(&'static str),
    /// Passes the request on and closes the connection without an answer.
    LoseAnswer,
    /// Passes the request on and holds the answer for a time.
    Hold(Duration),
    /// Puts garbage for the iterator in the answer; who comes with it is told so, as AWS does.
    GarbageIterator,
    /// Puts this for a member of an answer that is no refusal, or takes the member out. The path there has `*` for every
    /// element of a list; an empty one is the whole answer.
    Member(Vec<String>, Option<Value>),
    /// Answers with this status and a page, as what stands between does, and passes nothing on.
    Status(u16),
    /// Closes the connection and passes nothing on.
    Reset,
}

/// A fault that was asked for, to ask for it again or take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

struct Rule {
    operation: &'static str,
    /// `None` for every shard and for calls that are for none.
    shard: Option<String>,
    fault: Fault,
    /// Only answers that have records.
    with_records: bool,
    /// How often yet.
    left: usize,
    struck: usize,
}

/// A call that was made, or an event that a subscription brought (its operation is [`EVENT`]).
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub operation: String,
    /// Whose iterator it came with, or whom it names.
    pub shard: Option<String>,
    pub request: Value,
    /// Under which access key it was signed.
    pub access_key: Option<String>,
    /// `None` until it is answered, and for ever if the answer was lost; 200 for an event.
    pub status: Option<u16>,
    /// Records in the answer, and the bytes of their data and partition keys.
    pub records: usize,
    pub bytes: usize,
}

/// The operation of a [`Call`] that is an event of a subscription.
pub const EVENT: &str = "SubscribeToShardEvent";

/// The most that happened to one shard within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    pub calls: usize,
    pub bytes: usize,
}

struct Subscription {
    consumer: String,
    shard: String,
    began: Instant,
    /// Tells its task to end.
    end: watch::Sender<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// The connection breaks.
    Break,
    /// Another call took the shard over.
    TakenOver,
}

struct State {
    rules: Vec<Rule>,
    calls: Vec<Call>,
    /// Whose each iterator is.
    iterators: HashMap<String, String>,
    garbage: BTreeSet<String>,
    /// Shards whose children are kept secret.
    parents: BTreeSet<String>,
    /// Shards that are not there any more.
    gone: BTreeSet<String>,
    /// The last record that is not there any more.
    expired: Option<String>,
    subscriptions: Vec<Subscription>,
    expiry: Option<Duration>,
    pause: Duration,
    date: Option<&'static str>,
    /// The last answer to each operation that was no refusal, before it was changed.
    last: BTreeMap<String, Value>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
}

/// A running proxy, ended with the test.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Proxy {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let state = State {
            rules: Vec::new(),
            calls: Vec::new(),
            iterators: HashMap::new(),
            garbage: BTreeSet::new(),
            parents: BTreeSet::new(),
            gone: BTreeSet::new(),
            expired: None,
            subscriptions: Vec::new(),
            expiry: None,
            pause: Duration::from_secs(5),
            date: None,
            last: BTreeMap::new(),
        };
        let shared = Arc::new(Shared { server, state: Mutex::new(state) });
        let accepting = RUNTIME.spawn(accept(listener, shared.clone())).abort_handle();
        Proxy { address, shared, accepting }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Does this to the next `times` calls of an operation, for one shard or all; those of UpdateItem are told by their
    /// UpdateExpression. Of several that fit a call the one
    /// that was asked for first is met.
    pub fn next(&self, times: usize, operation: &'static str, shard: Option<&str>, fault: Fault) -> FaultId {
        self.rule(Rule {
            operation,
            shard: shard.map(str::to_owned),
            fault,
            with_records: false,
            left: times,
            struck: 0,
        })
    }

    /// Changes the next answer of an operation that has records, if it is one that has them.
    pub fn next_with_records(&self, operation: &'static str, fault: Fault) -> FaultId {
        let with_records = ["GetRecords", EVENT].contains(&operation);
        self.rule(Rule { operation, shard: None, fault, with_records, left: 1, struck: 0 })
    }

    fn rule(&self, rule: Rule) -> FaultId {
        let mut state = self.state();
        state.rules.push(rule);
        FaultId(state.rules.len() - 1)
    }

    /// Does this until it is taken back.
    pub fn always(&self, operation: &'static str, shard: Option<&str>, fault: Fault) -> FaultId {
        self.next(usize::MAX, operation, shard, fault)
    }

    pub fn take_back(&self, fault: FaultId) {
        self.state().rules[fault.0].left = 0;
    }

    /// How often a fault was met.
    pub fn struck(&self, fault: FaultId) -> usize {
        self.state().rules[fault.0].struck
    }

    /// Keeps the children of a shard, and theirs, out of all answers until [`Proxy::show_children`].
    pub fn hide_children(&self, shard: &str) {
        self.state().parents.insert(shard.to_owned());
    }

    pub fn show_children(&self) {
        self.state().parents.clear();
    }

    /// Records up to this one expire, and answers to GetRecords leave them out, as AWS does.
    pub fn expire(&self, sequence: &str) {
        self.state().expired = Some(sequence.to_owned());
    }

    /// A closed shard of which everything has expired goes: it is not listed any more, and who asks for it is told so.
    pub fn remove_shard(&self, shard: &str) {
        self.state().gone.insert(shard.to_owned());
    }

    /// Ends subscriptions that begin from now on behind the first event after this time, cleanly, as AWS does after five
    /// minutes.
    pub fn end_subscriptions_after(&self, time: Option<Duration>) {
        self.state().expiry = time;
    }

    /// For how long after a SubscribeToShard that succeeded the next for the same consumer and shard is refused, and from
    /// when on it takes over. 5 s, as at AWS, unless told otherwise.
    pub fn refuse_subscriptions_for(&self, time: Duration) {
        self.state().pause = time;
    }

    /// Has every answer say that it was made then.
    pub fn say_date(&self, date: &'static str) {
        self.state().date = Some(date);
    }

    /// Breaks the connections of all subscriptions; how many there were.
    pub fn break_subscriptions(&self) -> usize {
        let state = self.state();
        let open = state.subscriptions.iter().filter(|s| !s.end.is_closed());
        open.map(|s| s.end.send_modify(|end| *end = End::Break)).count()
    }

    /// Subscriptions that are open.
    pub fn subscriptions(&self) -> usize {
        self.state().subscriptions.iter().filter(|s| !s.end.is_closed()).count()
    }

    /// The calls of one operation until now, in the order in which they came.
    pub fn calls_of(&self, operation: &str) -> Vec<Call> {
        self.state().calls.iter().filter(|c| c.operation == operation).cloned().collect()
    }

    /// The last answer to an operation, or the last event, as the server gave it.
    pub fn last_answer(&self, operation: &str) -> Option<Value> {
        self.state().last.get(operation).cloned()
    }

    /// Waits for something about the calls.
    pub fn until(&self, what: &str, condition: impl Fn(&[Call]) -> bool) {
        let began = Instant::now();
        while !condition(&self.state().calls) {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", self.state().calls.last());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The most calls of an operation, and the most bytes in their answers, that began within any `window`, by shard.
    pub fn most(&self, operation: &str, window: Duration) -> BTreeMap<String, Most> {
        most(&self.state().calls, operation, window)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.break_subscriptions();
    }
}

fn most(calls: &[Call], operation: &str, window: Duration) -> BTreeMap<String, Most> {
    let mut by_shard: BTreeMap<String, Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|c| c.operation == operation) {
        by_shard.entry(call.shard.clone().unwrap_or_default()).or_default().push(call);
    }
    let most = |calls: Vec<&Call>| {
        let mut most = Most::default();
        for (i, first) in calls.iter().enumerate() {
            let within = || calls[i..].iter().take_while(|c| c.at - first.at < window);
            most.calls = most.calls.max(within().count());
            most.bytes = most.bytes.max(within().map(|c| c.bytes).sum());
        }
        most
    };
    by_shard.into_iter().map(|(shard, calls)| (shard, most(calls))).collect()
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request| shared.clone().serve(request));
            // Whoever goes away, and whoever loses an answer, ends up here.
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

/// Where a call stands in the list, and what is done to it.
struct Met {
    call: usize,
    operation: String,
    shard: Option<String>,
    fault: Option<Fault>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// An error closes the connection without an answer.
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = head.headers.get("x-amz-target").map_or("", |t| t.to_str().unwrap_or_default());
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let of_kinesis = target.starts_with("Kinesis");
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let signed = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        let access_key = signed.and_then(|text| text.split_once("Credential=")?.1.split('/').next());
        let met = self.meet(operation, &asked, access_key.map(str::to_owned));
        if let Some(refusal) = self.refusal(&met, &asked) {
            return Ok(self.refuse(&met, refusal));
        }
        match met.fault {
            Some(Fault::Error(kind)) => return Ok(self.refuse(&met, kind)),
            Some(Fault::Status(status)) => {
                self.state().calls[met.call].status = Some(status);
                let page = Response::builder().status(status).header(header::CONTENT_TYPE, "text/html");
                return Ok(page.body(whole("<html>no</html>".into())).expect("a complete answer"));
            }
            Some(Fault::Reset) => return Err(io::Error::other("the connection is reset")),
            _ => {}
        }
        let request = Request::from_parts(head, Full::new(body));
        let answer = self.forward(request.clone()).await?;
        match met.fault {
            Some(Fault::LoseAnswer) => {
                // The server has done it all once its answer is here; that of a subscription has no end.
                if met.operation != "SubscribeToShard" {
                    answer.into_body().collect().await.map_err(io::Error::other)?;
                }
                return Err(io::Error::other("the answer is lost"));
            }
            Some(Fault::Hold(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        let status = answer.status().as_u16();
        if met.operation == "SubscribeToShard" && status == 200 {
            self.state().calls[met.call].status = Some(status);
            return Ok(self.subscribe(met, &asked, request, answer));
        }
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let body = match serde_json::from_slice(&body) {
            Ok(json) if status == 200 && of_kinesis => self.answered(&met, json).into(),
            // Those of a lease table are passed on byte by byte, unless they are changed.
            Ok(mut json) if status == 200 => {
                let mut state = self.state();
                state.last.insert(met.operation.clone(), json.clone());
                match state.strike(&met, true, false) {
                    Some(fault) => {
                        head.headers.remove("x-amz-crc32");
                        change(&fault, &mut json);
                        json.to_string().into()
                    }
                    None => body,
                }
            }
            _ => body,
        };
        self.state().calls[met.call].status = Some(status);
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::TRANSFER_ENCODING);
        head.headers.remove(header::CONNECTION);
        if let Some(date) = self.state().date {
            head.headers.insert(header::DATE, header::HeaderValue::from_static(date));
        }
        Ok(Response::from_parts(head, whole(body)))
    }

    /// Writes a call down and finds what is to be done to it.
    fn meet(&self, operation: String, asked: &Value, access_key: Option<String>) -> Met {
        let mut state = self.state();
        let named = |key: &str| asked[key].as_str().map(str::to_owned);
        let shard = match asked["ShardIterator"].as_str() {
            Some(iterator) => state.iterators.get(iterator).cloned(),
            None => ["ShardId", "ShardToSplit", "ShardToMerge", "UpdateExpression"].into_iter().find_map(named),
        };
        let mut met = Met { call: state.calls.len(), operation, shard, fault: None };
        met.fault = state.strike(&met, false, false);
        state.calls.push(Call {
            at: Instant::now(),
            operation: met.operation.clone(),
            shard: met.shard.clone(),
            request: asked.clone(),
            access_key,
            status: None,
            records: 0,
            bytes: 0,
        });
        met
    }

    /// What AWS refuses and the servers of the tests do not, or otherwise.
    fn refusal(&self, met: &Met, asked: &Value) -> Option<&'static str> {
        let state = self.state();
        if asked["ShardIterator"].as_str().is_some_and(|i| state.garbage.contains(i)) {
            return Some("InvalidArgumentException");
        }
        if met.shard.as_ref().is_some_and(|shard| state.gone.contains(shard)) {
            return Some("ResourceNotFoundException");
        }
        let (consumer, shard) = (asked["ConsumerARN"].as_str()?, met.shard.as_deref()?);
        let same = |s: &&Subscription| s.consumer == consumer && s.shard == shard;
        let last = state.subscriptions.iter().filter(same).map(|s| s.began.elapsed()).min()?;
        (met.operation == "SubscribeToShard" && last < state.pause).then_some("ResourceInUseException")
    }

    fn refuse(&self, met: &Met, kind: &'static str) -> Answer {
        let status = if kind == "InternalFailure" { 500 } else { 400 };
        self.state().calls[met.call].status = Some(status);
        let shard = met.shard.as_deref().unwrap_or("none");
        // The words are those of AWS's answers as people quote them; nobody may rely on them.
        let message = match kind {
            "ProvisionedThroughputExceededException" => {
                format!("Rate exceeded for shard {shard} in stream s under account 000000000000.")
            }
            "LimitExceededException" => "Rate exceeded for stream s under account 000000000000.".to_owned(),
            "AccessDeniedException" => format!(
                "User: arn:aws:iam::000000000000:user/test is not authorized to perform: kinesis:{}",
                met.operation
            ),
            "ExpiredIteratorException" => {
                "Iterator expired. The iterator was created at time A while right now it is B \
                                           which is further in the future than the tolerated delay of 300000 \
                                           milliseconds."
                    .to_owned()
            }
            "InvalidArgumentException" => "Invalid ShardIterator.".to_owned(),
            "ResourceNotFoundException" => {
                format!("Shard {shard} in stream s under account 000000000000 does not exist")
            }
            "ResourceInUseException" => format!("Another active subscription exists for this consumer on {shard}."),
            _ => String::new(),
        };
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amzn-RequestId", uuid::Uuid::new_v4().to_string())
            .body(whole(json!({"__type": kind, "message": message}).to_string().into()))
            .expect("a complete answer")
    }

    async fn forward(&self, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
        let connection = TokioIo::new(TcpStream::connect(self.server).await?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(connection).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(io::Error::other)
    }

    /// An answer as the client gets it; what it says is written down.
    fn answered(&self, met: &Met, mut answer: Value) -> String {
        let mut state = self.state();
        let state = &mut *state;
        for key in ["ShardIterator", "NextShardIterator"] {
            let Some(iterator) = answer[key].as_str().map(str::to_owned) else { continue };
            let iterator = if matches!(met.fault, Some(Fault::GarbageIterator)) {
                let garbage = format!("garbage-{}", state.garbage.len());
                state.garbage.insert(garbage.clone());
                garbage
            } else {
                iterator
            };
            answer[key] = iterator.clone().into();
            state.iterators.extend(met.shard.clone().map(|shard| (iterator, shard)));
        }
        if met.operation == "ListShards" {
            let mut hidden = state.parents.clone();
            if let Some(shards) = answer["Shards"].as_array_mut() {
                let is_hidden = |shard: &Value, hidden: &BTreeSet<String>| {
                    let parents = ["ParentShardId", "AdjacentParentShardId"];
                    parents.iter().any(|key| shard[key].as_str().is_some_and(|parent| hidden.contains(parent)))
                };
                // Parents come before their children.
                for shard in shards.iter() {
                    if is_hidden(shard, &hidden) {
                        hidden.extend(shard["ShardId"].as_str().map(str::to_owned));
                    }
                }
                let is_gone = |shard: &Value| shard["ShardId"].as_str().is_some_and(|id| state.gone.contains(id));
                shards.retain(|shard| !is_hidden(shard, &hidden) && !is_gone(shard));
            }
        }
        state.hide(&mut answer);
        if let (Some(expired), Some(records)) = (&state.expired, answer["Records"].as_array_mut()) {
            // Numbers of more than fifty digits, without zeros in front.
            let is_there = |number: &str| (number.len(), number) > (expired.len(), expired.as_str());
            records.retain(|record| record["SequenceNumber"].as_str().is_some_and(is_there));
        }
        if met.operation == "GetRecords" {
            (state.calls[met.call].records, state.calls[met.call].bytes) = size(&answer);
        }
        state.last.insert(met.operation.clone(), answer.clone());
        let has_records = answer["Records"].as_array().is_some_and(|records| !records.is_empty());
        if let Some(fault) = state.strike(met, true, has_records) {
            change(&fault, &mut answer);
        }
        answer.to_string()
    }

    /// Passes a subscription's events on until it ends on either side.
    fn subscribe(
        self: Arc<Self>,
        met: Met,
        asked: &Value,
        request: Request<Full<Bytes>>,
        answer: Response<Incoming>,
    ) -> Answer {
        let (end, mut ends) = watch::channel(End::NotYet);
        let mut state = self.state();
        let consumer = asked["ConsumerARN"].as_str().unwrap_or_default().to_owned();
        let shard = met.shard.unwrap_or_default();
        let same = state.subscriptions.iter().filter(|s| s.consumer == consumer && s.shard == shard);
        same.for_each(|s| s.end.send_modify(|end| *end = End::TakenOver));
        let began = Instant::now();
        state.subscriptions.push(Subscription { consumer: consumer.clone(), shard: shard.clone(), began, end });
        let expires = state.expiry.map(|time| began + time);
        drop(state);
        let (head, body) = answer.into_parts();
        let position = asked["StartingPosition"].clone();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let ended = tokio::select! {
                biased;
                () = sender.closed() => return,
                _ = ends.wait_for(|end| *end != End::NotYet) => true,
                () = self.pass_on([&consumer, &shard], position, expires, request, body, &sender) => false,
            };
            let last = match *ends.borrow() {
                End::TakenOver => Ok(Bytes::from(taken_over().to_bytes())),
                _ => Err(io::Error::other("the subscription breaks")),
            };
            if ended {
                let _ = sender.send(last).await;
            }
        });
        Response::from_parts(head, BodyExt::boxed(Pipe(receiver)))
    }

    /// kinesis-local knows no end of a shard here, no first message, and no second subscription until it has noticed,
    /// with its next event, that the first is gone. This is made up for. `position`: behind what was passed on.
    async fn pass_on(
        &self,
        [consumer, shard]: [&str; 2],
        mut position: Value,
        expires: Option<Instant>,
        request: Request<Full<Bytes>>,
        mut body: Incoming,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) {
        let send = async |frame: Frame| sender.send(Ok(Bytes::from(frame.to_bytes()))).await.is_ok();
        let mut buffer = Vec::new();
        let mut first = true;
        send(initial_response()).await;
        loop {
            while let Some(frame) = Frame::take(&mut buffer) {
                if first && frame.header(":exception-type") == Some("ResourceInUseException") {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let Ok(answer) = self.forward(request.clone()).await else { return };
                    (body, buffer) = (answer.into_body(), Vec::new());
                    break;
                }
                let is_event = frame.header(":event-type") == Some(EVENT);
                first &= !is_event;
                if is_event && let Some(last) = last_record(&frame) {
                    position = json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last});
                }
                let children = match is_event && is_empty(&frame) {
                    true => self.children(consumer, shard, &request).await,
                    false => None,
                };
                let frame = match children {
                    // An event that was long on its way does not say that nothing came after it.
                    Some(children) if self.is_end(consumer, shard, &position, &request).await => {
                        last_event(&frame, &children)
                    }
                    _ => frame,
                };
                let is_expired = expires.is_some_and(|at| at <= Instant::now());
                let is_last = is_event && (is_expired || !has_next(&frame));
                if frame.header(":event-type") != Some("initial-response") && !send(self.event(shard, frame)).await
                    || is_last
                {
                    return;
                }
            }
            let Some(Ok(frame)) = body.frame().await else { return };
            buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d));
        }
    }

    /// Asks the server itself, by a request like another one.
    async fn ask(&self, operation: &str, asked: Value, like: &Request<Full<Bytes>>) -> Option<Value> {
        let mut request = like.clone();
        *request.body_mut() = Full::from(asked.to_string());
        request.headers_mut().remove(header::CONTENT_LENGTH);
        let target = format!("Kinesis_20131202.{operation}");
        request.headers_mut().insert("x-amz-target", header::HeaderValue::from_str(&target).ok()?);
        let answer = self.forward(request).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&answer).ok()
    }

    /// Whether a closed shard has no record there or behind.
    async fn is_end(&self, consumer: &str, shard: &str, from: &Value, like: &Request<Full<Bytes>>) -> bool {
        let there = json!({
            "StreamName": consumer.split('/').nth(1), "ShardId": shard, "ShardIteratorType": from["Type"],
            "StartingSequenceNumber": from["SequenceNumber"], "Timestamp": from["Timestamp"],
        });
        let begin = self.ask("GetShardIterator", without_null(there), like).await;
        let mut next = begin.and_then(|answer| answer.get("ShardIterator").cloned());
        while let Some(Value::String(iterator)) = next {
            let answer = self.ask("GetRecords", json!({"ShardIterator": iterator}), like).await.unwrap_or_default();
            next = answer["Records"].as_array().filter(|r| r.is_empty()).map(|_| answer["NextShardIterator"].clone());
        }
        next == Some(Value::Null)
    }

    /// The server's word on what a closed shard's children are; `None` while it is open.
    async fn children(&self, consumer: &str, shard: &str, like: &Request<Full<Bytes>>) -> Option<Value> {
        let asked = json!({"StreamName": consumer.split('/').nth(1)?});
        let answer = self.ask("ListShards", asked, like).await?;
        let shards = answer["Shards"].as_array()?;
        let itself = shards.iter().find(|s| s["ShardId"] == shard)?;
        itself["SequenceNumberRange"]["EndingSequenceNumber"].as_str()?;
        let parents = |s: &Value| {
            let parents = ["ParentShardId", "AdjacentParentShardId"].map(|key| s[key].as_str().map(str::to_owned));
            parents.into_iter().flatten().collect::<Vec<_>>()
        };
        let children = shards.iter().filter(|s| parents(s).iter().any(|parent| parent == shard));
        let child =
            |s: &Value| json!({"ShardId": s["ShardId"], "ParentShards": parents(s), "HashKeyRange": s["HashKeyRange"]});
        Some(children.map(child).collect())
    }

    fn event(&self, shard: &str, mut frame: Frame) -> Frame {
        if frame.header(":event-type") != Some(EVENT) {
            return frame;
        }
        let mut event: Value = serde_json::from_slice(&frame.payload).expect("an event is JSON");
        let mut state = self.state();
        if state.hide(&mut event) {
            frame.payload = event.to_string().into();
        }
        let (records, bytes) = size(&event);
        state.last.insert(EVENT.to_owned(), event.clone());
        let met = Met { call: 0, operation: EVENT.to_owned(), shard: Some(shard.to_owned()), fault: None };
        if let Some(fault) = state.strike(&met, true, records > 0) {
            change(&fault, &mut event);
            frame.payload = event.to_string().into();
        }
        state.calls.push(Call {
            at: Instant::now(),
            operation: EVENT.to_owned(),
            shard: Some(shard.to_owned()),
            request: Value::Null,
            access_key: None,
            status: Some(200),
            records,
            bytes,
        });
        frame
    }
}

impl State {
    /// What is to be done to a call; with an `answer`, to that, which may have records.
    fn strike(&mut self, met: &Met, answer: bool, has_records: bool) -> Option<Fault> {
        let fits = |r: &&mut Rule| {
            r.left > 0
                && r.operation == met.operation
                && r.shard.as_ref().is_none_or(|s| Some(s) == met.shard.as_ref())
                && matches!(r.fault, Fault::Member(..)) == answer
                && (!r.with_records || has_records)
        };
        self.rules.iter_mut().find(fits).map(|rule| {
            rule.left -= 1;
            rule.struck += 1;
            rule.fault.clone()
        })
    }

    /// Takes secret children out of an answer that brings children; whether there were any.
    fn hide(&self, answer: &mut Value) -> bool {
        let Some(children) = answer["ChildShards"].as_array_mut() else { return false };
        let before = children.len();
        children.retain(|child| {
            let mut parents = child["ParentShards"].as_array().into_iter().flatten();
            !parents.any(|parent| parent.as_str().is_some_and(|parent| self.parents.contains(parent)))
        });
        let (all, any) = (children.is_empty(), children.len() < before);
        if all && any {
            answer.as_object_mut().expect("it has a member").remove("ChildShards");
        }
        any
    }
}

/// Does what [`Fault::Member`] says to an answer.
fn change(fault: &Fault, answer: &mut Value) {
    fn at(value: &mut Value, path: &[String], put: &Option<Value>) {
        match (path, value) {
            ([], value) => *value = put.clone().unwrap_or_default(),
            ([star, rest @ ..], Value::Array(all)) if star == "*" => all.iter_mut().for_each(|one| at(one, rest, put)),
            ([name], Value::Object(members)) => match put {
                Some(put) => drop(members.insert(name.clone(), put.clone())),
                None => drop(members.remove(name)),
            },
            ([name, rest @ ..], Value::Object(members)) => {
                members.get_mut(name).into_iter().for_each(|one| at(one, rest, put));
            }
            _ => {}
        }
    }
    if let Fault::Member(path, put) = fault {
        at(answer, path, put);
    }
}

/// Records in an answer, and the bytes of their data and partition keys.
fn size(answer: &Value) -> (usize, usize) {
    let records = answer["Records"].as_array().map_or(&[][..], |r| r);
    let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let bytes = records.iter().map(|record| {
        let data = base64_simd::STANDARD.decode_to_vec(text(record, "Data")).expect("data is base64");
        data.len() + text(record, "PartitionKey").len()
    });
    (records.len(), bytes.sum())
}

/// What AWS sends before the first event, which clients wait for.
fn initial_response() -> Frame {
    let headers = [
        (":message-type", "event"),
        (":event-type", "initial-response"),
        (":content-type", "application/x-amz-json-1.1"),
    ];
    Frame { headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into(), payload: b"{}".to_vec() }
}

fn is_empty(event: &Frame) -> bool {
    let event: Value = serde_json::from_slice(&event.payload).expect("an event is JSON");
    event["Records"].as_array().is_none_or(Vec::is_empty) && event["MillisBehindLatest"] == 0
}

/// The sequence number of an event's last record.
fn last_record(event: &Frame) -> Option<String> {
    let event: Value = serde_json::from_slice(&event.payload).expect("an event is JSON");
    Some(event["Records"].as_array()?.last()?["SequenceNumber"].as_str()?.to_owned())
}

fn has_next(event: &Frame) -> bool {
    let event: Value = serde_json::from_slice(&event.payload).expect("an event is JSON");
    event["ContinuationSequenceNumber"].is_string()
}

/// An event as the last of a shard: it has nowhere to continue.
fn last_event(like: &Frame, children: &Value) -> Frame {
    let payload = json!({"Records": [], "MillisBehindLatest": 0, "ChildShards": children}).to_string();
    Frame { headers: like.headers.clone(), payload: payload.into() }
}

/// What the former of two subscriptions hears last.
fn taken_over() -> Frame {
    let headers = [
        (":message-type", "exception"),
        (":exception-type", "ResourceInUseException"),
        (":content-type", "application/json"),
    ];
    let payload = json!({"message": "Another subscription took this shard over."}).to_string();
    Frame { headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).into(), payload: payload.into() }
}

/// An object without the members that are nothing.
fn without_null(mut object: Value) -> Value {
    object.as_object_mut().expect("it is one").retain(|_, value| !value.is_null());
    object
}

fn whole(body: Bytes) -> BoxBody<Bytes, io::Error> {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// A body that comes bit by bit.
struct Pipe(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pipe {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<hyper::body::Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| part.map(hyper::body::Frame::data)))
    }
}
