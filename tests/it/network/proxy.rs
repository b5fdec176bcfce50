//! A proxy that knows nothing but bytes, and strikes once at one of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both ends are reset.
    Reset,
    /// The receiver sees the end; what comes after is swallowed.
    Fin,
    /// Nothing comes through any more, for as long as the connection lives.
    Stall,
    /// That bit of the next byte is another.
    Flip(u8),
}

/// What is to happen: when that many bytes of that connection have gone that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Counted from 1 since the proxy was armed.
    pub connection: usize,
    pub way: Way,
    pub at: u64,
    pub kind: Kind,
}

/// A TLS record that went through.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub connection: usize,
    pub way: Way,
    pub start: u64,
    pub end: u64,
}

/// How a strike went.
#[derive(Clone, Copy, Debug)]
pub struct Fired {
    pub when: SystemTime,
    /// Bytes that came afterwards the same way and were swallowed.
    pub swallowed: u64,
}

/// What went through since the proxy was armed.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub records: Vec<Record>,
    pub fired: Option<Fired>,
}

struct Inner {
    upstream: SocketAddr,
    strike: Option<Strike>,
    /// Which arming this is.
    run: u64,
    open: usize,
    seen: Seen,
}

/// A listener on the loopback, on a thread of its own. Dropping it ends it.
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Proxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            upstream,
            strike: None,
            run: 0,
            open: 0,
            seen: Seen::default(),
        }));
        let (stop, stopped) = oneshot::channel();
        let served = inner.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Proxy {
            address,
            inner,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set_upstream(&self, upstream: SocketAddr) {
        lock(&self.inner).upstream = upstream;
    }

    /// Forgets what was seen; from now on connections count anew.
    pub fn arm(&self, strike: Option<Strike>) {
        let mut inner = lock(&self.inner);
        inner.run += 1;
        inner.strike = strike;
        inner.seen = Seen::default();
    }

    pub fn seen(&self) -> Seen {
        lock(&self.inner).seen.clone()
    }

    /// Connections that have not ended, at either side.
    pub fn open(&self) -> usize {
        lock(&self.inner).open
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, inner: Arc<Mutex<Inner>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let mut link = {
            let mut now = lock(&inner);
            now.open += 1;
            now.seen.connections += 1;
            let number = now.seen.connections;
            Link {
                inner: inner.clone(),
                run: now.run,
                number,
                strike: now.strike.filter(|strike| strike.connection == number),
                upstream: now.upstream,
                lanes: [Lane::default(), Lane::default()],
            }
        };
        tokio::task::spawn(async move {
            link.carry(client).await;
            lock(&link.inner).open -= 1;
        });
    }
}

/// One way of a connection.
#[derive(Default)]
struct Lane {
    passed: u64,
    ended: bool,
    swallows: bool,
    header: Vec<u8>,
    record_start: u64,
    record_end: u64,
}

/// One connection.
struct Link {
    inner: Arc<Mutex<Inner>>,
    run: u64,
    number: usize,
    strike: Option<Strike>,
    upstream: SocketAddr,
    lanes: [Lane; 2],
}

impl Link {
    async fn carry(&mut self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.upstream).await else {
            return;
        };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let mut up = vec![0; 64 * 1024];
        let mut down = vec![0; 64 * 1024];
        let early = self
            .strike
            .filter(|one| one.at == 0 && !matches!(one.kind, Kind::Flip(_)));
        let mut alive = match early.map(|one| one.way) {
            Some(Way::ToServer) => self.hit(&mut client, &mut server).await,
            Some(Way::ToClient) => self.hit(&mut server, &mut client).await,
            None => true,
        };
        while alive && !(self.lanes[0].ended && self.lanes[1].ended) {
            let (way, got) = tokio::select! {
                got = client.read(&mut up), if !self.lanes[0].ended => (Way::ToServer, got),
                got = server.read(&mut down), if !self.lanes[1].ended => (Way::ToClient, got),
            };
            let (from, to, bytes) = match way {
                Way::ToServer => (&mut client, &mut server, &mut up),
                Way::ToClient => (&mut server, &mut client, &mut down),
            };
            alive = match got {
                Ok(0) => self.end(way, to).await,
                Ok(count) => self.pass(way, from, to, &mut bytes[..count]).await,
                Err(_) => {
                    reset(from, to);
                    false
                }
            };
        }
    }

    async fn end(&mut self, way: Way, to: &mut TcpStream) -> bool {
        let lane = &mut self.lanes[way as usize];
        lane.ended = true;
        // The receiver of what is swallowed would wait for ever.
        !lane.swallows && to.shutdown().await.is_ok()
    }

    /// Passes bytes on, and strikes where it is time; false where the connection is over.
    async fn pass(
        &mut self,
        way: Way,
        from: &mut TcpStream,
        to: &mut TcpStream,
        bytes: &mut [u8],
    ) -> bool {
        let count = bytes.len() as u64;
        if self.lanes[way as usize].swallows {
            self.tell(|seen| {
                if let Some(fired) = &mut seen.fired {
                    fired.swallowed += count;
                }
            });
            return true;
        }
        self.note(way, bytes);
        let lane = &mut self.lanes[way as usize];
        let start = lane.passed;
        lane.passed += count;
        let end = lane.passed;
        let Some(strike) = self.strike.filter(|one| one.way == way && one.at >= start) else {
            return send(from, to, bytes).await;
        };
        let at = (strike.at - start) as usize;
        if let Kind::Flip(bit) = strike.kind {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
                self.strike = None;
                self.fire();
            }
            return send(from, to, bytes).await;
        }
        if strike.at > end {
            return send(from, to, bytes).await;
        }
        let (before, after) = bytes.split_at(at);
        if !send(from, to, before).await {
            return false;
        }
        let alive = self.hit(from, to).await;
        let rest = after.len() as u64;
        self.tell(|seen| {
            if let Some(fired) = &mut seen.fired {
                fired.swallowed += rest;
            }
        });
        alive
    }

    async fn hit(&mut self, from: &mut TcpStream, to: &mut TcpStream) -> bool {
        let Some(strike) = self.strike.take() else {
            return true;
        };
        self.fire();
        self.lanes[strike.way as usize].swallows = true;
        match strike.kind {
            Kind::Reset => {
                reset(from, to);
                false
            }
            Kind::Fin => to.shutdown().await.is_ok(),
            Kind::Stall | Kind::Flip(_) => true,
        }
    }

    fn fire(&self) {
        self.tell(|seen| {
            seen.fired = Some(Fired {
                when: SystemTime::now(),
                swallowed: 0,
            });
        });
    }

    /// Where this arming is still in force.
    fn tell(&self, what: impl FnOnce(&mut Seen)) {
        let mut inner = lock(&self.inner);
        if inner.run == self.run {
            what(&mut inner.seen);
        }
    }

    /// Finds the TLS records: five bytes of header, of which the last two are the length.
    fn note(&mut self, way: Way, bytes: &[u8]) {
        let lane = &mut self.lanes[way as usize];
        let mut records = Vec::new();
        let (mut at, end) = (lane.passed, lane.passed + bytes.len() as u64);
        while at < end {
            if lane.header.len() < 5 {
                lane.header.push(bytes[(at - lane.passed) as usize]);
                at += 1;
                if lane.header.len() < 5 {
                    continue;
                }
                let length = u64::from(u16::from_be_bytes([lane.header[3], lane.header[4]]));
                lane.record_end = lane.record_start + 5 + length;
            } else {
                at = lane.record_end.min(end);
            }
            if at == lane.record_end {
                records.push(Record {
                    connection: self.number,
                    way,
                    start: lane.record_start,
                    end: at,
                });
                lane.record_start = at;
                lane.header.clear();
            }
        }
        self.tell(|seen| seen.records.extend(records));
    }
}

async fn send(from: &TcpStream, to: &mut TcpStream, bytes: &[u8]) -> bool {
    let sent = to.write_all(bytes).await.is_ok();
    if !sent {
        reset(from, to);
    }
    sent
}

/// What is dropped after this is reset, not ended.
fn reset(one: &TcpStream, other: &TcpStream) {
    // Whoever is gone already needs no reset.
    let _ = one.set_zero_linger();
    let _ = other.set_zero_linger();
}
