//! A server on loopback that plays a script to each connection, to the byte.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Ends its connections and its threads when dropped.
pub struct Peer {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ending: Mutex<bool>,
    ended: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

impl Peer {
    /// Plays `script` to plain connections.
    pub fn plain(
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Peer {
        Peer::start(None, script)
    }

    /// Plays `script` to TLS connections.
    pub fn tls(
        config: ServerConfig,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Peer {
        Peer::start(Some(Arc::new(config)), script)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let script = Arc::new(script);
        let acceptor = {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let mut players = Vec::new();
                for socket in listener.incoming() {
                    let socket = socket.unwrap();
                    if *shared.ending.lock().unwrap() {
                        break;
                    }
                    shared
                        .sockets
                        .lock()
                        .unwrap()
                        .push(socket.try_clone().unwrap());
                    let (shared, script, tls) = (shared.clone(), script.clone(), tls.clone());
                    players.push(std::thread::spawn(move || {
                        let raw = socket.try_clone().unwrap();
                        let wire: Box<dyn Wire> = match tls {
                            Some(config) => {
                                let tls = ServerConnection::new(config).unwrap();
                                Box::new(StreamOwned::new(tls, socket))
                            }
                            None => Box::new(socket),
                        };
                        let mut connection = Connection {
                            wire,
                            ahead: Vec::new(),
                            shared,
                        };
                        // Clients that refuse or break off are what many tests are about.
                        let _ = script(&mut connection);
                        drop(connection);
                        let _ = raw.shutdown(Shutdown::Both);
                    }));
                }
                for player in players {
                    player.join().unwrap();
                }
            })
        };
        Peer {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as it stands in messages.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        *self.shared.ending.lock().unwrap() = true;
        self.shared.ended.notify_all();
        for socket in self.shared.sockets.lock().unwrap().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let ended = self.acceptor.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// One connection, as the script sees it.
pub struct Connection {
    wire: Box<dyn Wire>,
    ahead: Vec<u8>,
    shared: Arc<Shared>,
}

impl Connection {
    /// The request's line and headers; an error when the client says nothing more.
    pub fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.ahead.split_off(at + 4);
                let head = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8(head).unwrap());
            }
            self.fill()?;
        }
    }

    /// The next `length` bytes.
    pub fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.fill()?;
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        match self.wire.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.ahead.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())?;
        self.wire.flush()
    }

    /// An answer with a length and a body.
    pub fn answer(&mut self, status: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Does nothing until the peer is dropped.
    pub fn hold(&self) {
        let ending = self.shared.ending.lock().unwrap();
        drop(
            self.shared
                .ended
                .wait_while(ending, |ending| !*ending)
                .unwrap(),
        );
    }
}
