//! A logged-in session.

use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::transport::http::Http;
use crate::transport::soap::{Element, Node};
use crate::transport::tls::Trust;
use crate::vsphere::Moref;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// See [`crate::client::ConnectOptions`].
#[expect(missing_docs, reason = "the fields are those of ConnectOptions")]
pub struct SessionOptions {
    pub server: String,
    pub username: String,
    pub password: Zeroizing<String>,
    pub trust: Trust,
    pub connect_timeout: Option<Duration>,
    pub request_timeout: Option<Duration>,
    pub keepalive_interval: Option<Duration>,
    pub proxy: Option<String>,
    pub allow_plain_http: bool,
    pub log: Log,
}

/// What the server says of itself, and its singletons.
#[derive(Clone, Debug)]
pub struct ServiceContent {
    /// Product and version.
    pub about: About,
    /// Above everything in the inventory.
    pub root_folder: Moref,
    /// Reads properties.
    pub property_collector: Moref,
    /// Logs in and out.
    pub session_manager: Moref,
    /// Makes container views.
    pub view_manager: Option<Moref>,
    /// Finds by UUID and path.
    pub search_index: Option<Moref>,
    /// Works on virtual disks' files.
    pub virtual_disk_manager: Option<Moref>,
    /// Works on files.
    pub file_manager: Option<Moref>,
}

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// `VMware vCenter Server`.
    pub name: String,
    /// `8.0.3`.
    pub version: String,
    /// `VirtualCenter` or `HostAgent`.
    pub api_type: String,
    /// `8.0.3.0`.
    pub api_version: String,
    /// A vCenter's own id.
    pub instance_uuid: Option<String>,
}

/// A logged-in session. Cloning shares it.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    content: ServiceContent,
    http: Http,
    authority: (String, u16),
    log: Log,
    handle: Handle,
}

impl Session {
    /// Logs in.
    pub async fn connect(_options: SessionOptions) -> Result<Session> {
        Err(unwritten())
    }

    /// Calls a method; the answer is its response element, with a child `returnval` a result.
    pub async fn call(
        &self,
        _this: &Moref,
        _method: &str,
        _arguments: Vec<Element>,
    ) -> Result<Node> {
        Err(unwritten())
    }

    /// Calls a method that may be repeated: when the session was lost it logs in again, once.
    pub async fn call_idempotent(
        &self,
        _this: &Moref,
        _method: &str,
        _arguments: Vec<Element>,
    ) -> Result<Node> {
        Err(unwritten())
    }

    /// The server's singletons.
    pub fn content(&self) -> &ServiceContent {
        &self.shared.content
    }

    /// Whether this is a vCenter and not an ESXi host.
    pub fn is_vcenter(&self) -> bool {
        self.content().about.api_type == "VirtualCenter"
    }

    /// Connections to the endpoint.
    pub fn http(&self) -> &Http {
        &self.shared.http
    }

    /// The endpoint's host, without brackets, and port.
    pub fn authority(&self) -> (&str, u16) {
        (&self.shared.authority.0, self.shared.authority.1)
    }

    /// The session's cookie as it stands in a Cookie header.
    pub fn cookie(&self) -> Zeroizing<String> {
        Zeroizing::default()
    }

    /// Where records go.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Starts `future` on the I/O thread.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.handle.spawn(future)
    }

    /// The same session, whose requests bear an operation's id in the server's logs.
    #[must_use]
    pub fn with_operation(&self, _id: &str) -> Session {
        self.clone()
    }

    /// Logs out, once.
    pub async fn logout(&self) {}
}

fn unwritten() -> Error {
    Error::new(Kind::Unsupported, "sessions: not there yet")
}
