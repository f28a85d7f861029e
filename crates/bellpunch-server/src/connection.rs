//! One connection: which protocol it speaks, and the timers that end a slow one.
//!
//! Invariant: a connection that waits for its peer waits at most the idle, header, body or write
//! timeout. Why our own sniffing and watching: hyper's header timer also ends connections that are
//! merely idle, and hyper-util's automatic choice of protocol has no timer at all.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::app::{App, Outgoing};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for a head that is refused with a reason; what is longer is refused without one.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEAD_FIELDS_MAX: usize = 256;
/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 200;

/// How long, and for how many bytes, a closing connection is read.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 20;

/// What a connection is doing, for the timers.
#[derive(Debug)]
struct Activity {
    /// HTTP/2 has frames that belong to no request; only idling is timed there.
    protocol: Protocol,
    /// Requests under way.
    requests: AtomicUsize,
    /// Since when nothing is under way.
    quiet: Mutex<Quiet>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone, Copy, Debug)]
struct Quiet {
    since: Instant,
    /// When the first byte of the next request was seen.
    begun: Option<Instant>,
}

impl Activity {
    fn new(protocol: Protocol) -> Self {
        let quiet = Quiet { since: Instant::now(), begun: None };
        Self { protocol, requests: AtomicUsize::new(0), quiet: Mutex::new(quiet) }
    }

    fn quiet(&self) -> std::sync::MutexGuard<'_, Quiet> {
        self.quiet.lock().expect("no code panics while it holds this lock")
    }

    fn saw(&self, bytes: usize) {
        if 0 < bytes
            && self.protocol == Protocol::Http1
            && self.requests.load(Ordering::Relaxed) == 0
        {
            self.quiet().begun.get_or_insert_with(Instant::now);
        }
    }
}

/// A request under way; ends when dropped, answered or not.
struct Under(Arc<Activity>);

impl Under {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.quiet().begun = None;
        Self(Arc::clone(activity))
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        *self.0.quiet() = Quiet { since: Instant::now(), begun: None };
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its request under way.
struct Guarded {
    body: Outgoing,
    _under: Under,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Ends when the connection has been quiet, or slow with a head, for too long.
async fn watch_over(app: &App, activity: &Activity) {
    let http = &app.config.http;
    loop {
        let Quiet { since, begun } = *activity.quiet();
        let busy = 0 < activity.requests.load(Ordering::Relaxed);
        let now = Instant::now();
        let deadline = match (busy, begun) {
            (true, _) => now.checked_add(http.header_timeout.get()),
            (false, Some(begun)) => begun.checked_add(http.header_timeout.get()),
            (false, None) => {
                // A head may begin while this waits, and then has less time than this.
                let wait = http.idle_timeout.get().min(http.header_timeout.get());
                match since.checked_add(http.idle_timeout.get()) {
                    Some(end) => now.checked_add(wait).map(|soon| soon.min(end)),
                    None => None,
                }
            }
        };
        let Some(deadline) = deadline else { return };
        if deadline <= now {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// Serves one connection to its end.
pub(crate) async fn drive(app: Arc<App>, stream: TcpStream, mut draining: watch::Receiver<bool>) {
    let counter = Connected::new(&app);
    // Latency of small answers matters more than a packet.
    let _ = stream.set_nodelay(true);
    let first_byte = app.config.http.idle_timeout.get().min(app.config.http.header_timeout.get());
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(first_byte, sniff(stream)) => sniffed,
        _ = draining.wait_for(|draining| *draining) => return,
    };
    let Ok(Ok((stream, prefix))) = sniffed else { return };
    let protocol = if prefix.as_ref() == PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    let activity = Arc::new(Activity::new(protocol));
    let write_timeout = app.config.http.body_timeout.get();
    let io = Timed {
        stream,
        prefix,
        activity: Arc::clone(&activity),
        write_timeout,
        stalled: None,
        lingering: None,
    };
    let io = TokioIo::new(io);
    let service = {
        let (app, activity) = (Arc::clone(&app), Arc::clone(&activity));
        service_fn(move |request: Request<Incoming>| {
            let (app, under) = (Arc::clone(&app), Under::new(&activity));
            async move {
                let response = app.answer(request).await;
                // A body that streams is under way until its end.
                Ok::<_, Infallible>(response.map(|body| Guarded { body, _under: under }))
            }
        })
    };
    if protocol == Protocol::Http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .keep_alive_interval(app.config.http.idle_timeout.get())
            .keep_alive_timeout(app.config.http.header_timeout.get());
        let connection = std::pin::pin!(builder.serve_connection(io, service));
        until_done(&app, &activity, draining, connection).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(HEAD_FIELDS_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        let connection = std::pin::pin!(builder.serve_connection(io, service));
        until_done(&app, &activity, draining, connection).await;
    }
    drop(counter);
}

/// Either protocol's connection.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn stop(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::Connection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn stop(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Graceful for http2::Connection<I, S, E>
where
    Self: Future<Output = hyper::Result<()>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn stop(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn until_done(
    app: &App,
    activity: &Activity,
    mut draining: watch::Receiver<bool>,
    mut connection: Pin<&mut impl Graceful>,
) {
    // How a connection ended is its peer's affair; what it asked was answered or told elsewhere.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = watch_over(app, activity) => return,
        _ = draining.wait_for(|draining| *draining) => connection.as_mut().stop(),
    }
    let _ = connection.await;
}

/// Reads until it is clear which protocol is spoken.
async fn sniff(mut stream: TcpStream) -> io::Result<(TcpStream, Bytes)> {
    let mut seen = Vec::with_capacity(PREFACE.len());
    while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
        let rest = PREFACE.len().saturating_sub(seen.len());
        let rest = u64::try_from(rest).unwrap_or_default();
        if (&mut stream).take(rest).read_buf(&mut seen).await? == 0 {
            break;
        }
    }
    Ok((stream, seen.into()))
}

/// A stream whose first bytes were read already, that counts what it reads and that fails when a
/// write makes no progress.
struct Timed {
    stream: TcpStream,
    prefix: Bytes,
    activity: Arc<Activity>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// What is still read, and thrown away, after the last answer: to close while the peer sends would
/// make its system drop the answer before it is read.
struct Lingering {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.has_remaining() {
            let count = self.prefix.remaining().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(count));
            self.activity.saw(count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.activity.saw(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl Timed {
    fn within<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.within(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let polled = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.within(context, polled))?;
        }
        let Self { stream, lingering, .. } = &mut *self;
        let lingering = lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES_MAX,
        });
        let mut scratch = [0; 8 << 10];
        while 0 < lingering.left {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(lingering.until.as_mut().poll(context));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.within(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Counts open connections.
struct Connected(Arc<App>);

impl Connected {
    fn new(app: &Arc<App>) -> Self {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
