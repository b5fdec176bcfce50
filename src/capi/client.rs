//! Clients: connecting with a sized structure of options.

use super::apart;
use super::error::vmdk_error;
use super::guard::{guard_apart, inside_callback, outward, quietly};
use super::handle::{self, Handle};
use super::log::{Gate, vmdk_log_callback, vmdk_log_level};
use super::sized::{self, Growing};
use super::status::vmdk_status;
use super::text::{self, LONGEST_NAME, LONGEST_PATH, LONGEST_VALUE, flag, invalid, output};
use crate::client::{Client, ConnectOptions};
use crate::error::Result;
use crate::retry::Retries;
use crate::transport::tls::Trust;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// A session with one vCenter or ESXi host. It keeps itself alive, and any number of threads may
/// use it at once.
pub struct vmdk_client {
    client: Client,
    log: ClientLog,
}

/// The caller's log, which ends when the handle is freed, be the client in use or not.
struct ClientLog {
    gate: Arc<Gate>,
    user_data: *mut c_void,
    free: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    ended: AtomicBool,
    process: u32,
}

// SAFETY: the header asks for functions that may be called from any thread with their user_data.
unsafe impl Send for ClientLog {}
// SAFETY: the same; `free` is called once.
unsafe impl Sync for ClientLog {}

impl Handle for vmdk_client {
    const KIND: usize = 1;
}

/// In vmdk_client_options: nothing is tried again.
pub const VMDK_RETRIES_NONE: u32 = u32::MAX;

/// How to reach a vCenter or an ESXi host. At most one of ca_file, pin and insecure may be given;
/// with none of them the operating system's certificate authorities decide.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_client_options {
    /// sizeof(vmdk_client_options).
    pub struct_size: usize,
    /// "vc.example.org", "10.0.0.1:8443", "[::1]:443" or "https://vc.example.org/sdk", without user
    /// and password. Needed.
    pub server: *const c_char,
    /// The user's name as the server's log-in page takes it. Needed.
    pub username: *const c_char,
    /// The password. Needed. The library's own copies are wiped; wipe yours after the call.
    pub password: *const c_char,
    /// A PEM file of the certificate authorities to trust; NULL = not given.
    pub ca_file: *const c_char,
    /// The fingerprint of the one certificate to trust: 64 (SHA-256) or 40 (SHA-1) hexadecimal
    /// digits, with or without colons; NULL = not given. It stands for the certificate's issuer,
    /// names and dates, which are not checked then; but the certificate must be X.509 v3 with an RSA
    /// key of 2048 to 8192 bits, or an ECDSA (P-256, P-384) or Ed25519 key. Prefer SHA-256.
    pub pin: *const c_char,
    /// Non-zero: no certificate is checked. Whoever stands between can read and change everything.
    pub insecure: u32,
    /// Non-zero: "http://" is permitted in server, and in the URLs that the server gives for disks.
    /// Password, session and disks then travel in clear.
    pub allow_plain_http: u32,
    /// Until a connection stands, in milliseconds; 0 = 30 seconds.
    pub connect_timeout_ms: u32,
    /// For one request to the server and its answer, in milliseconds; 0 = 5 minutes.
    pub request_timeout_ms: u32,
    /// How often an idle session is touched, in milliseconds; 0 = 5 minutes.
    pub keepalive_interval_ms: u32,
    /// The least important level to pass to log: VMDK_LOG_...; 0 = VMDK_LOG_INFO.
    pub log_level: vmdk_log_level,
    /// How often a request, or the transfer of a disk, is tried again after a failure that passes
    /// (a broken connection, a server that is overloaded or restarted); 0 = 3 times,
    /// VMDK_RETRIES_NONE = never.
    pub retries: u32,
    /// Before the first of these, in milliseconds; each further pause is twice as long, up to 30
    /// seconds, and up to half of each is left out at random. 0 = 500.
    pub retry_pause_ms: u32,
    /// How long a task of somebody else's is waited for that keeps an object busy, in milliseconds;
    /// 0 = 1 minute.
    pub busy_timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
    /// "http://proxy.example.org:3128", with "user:password@" before the host where the proxy asks
    /// for them (special characters in percent encoding); NULL = no proxy. The environment is not
    /// looked at.
    pub proxy: *const c_char,
    /// A directory, which must exist, for journals of what operations make on the server; what a
    /// process that died had begun can be finished or undone by them. NULL = none are kept.
    pub state_dir: *const c_char,
    /// Receives log records; NULL = no log.
    pub log: vmdk_log_callback,
    /// Passed to log and to log_free.
    pub log_user_data: *mut c_void,
    /// Called once with log_user_data when log will not be called any more, which is inside
    /// vmdk_client_free(); NULL = nothing to do. Not called when connecting fails.
    pub log_free: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void)>,
}

// SAFETY: pointers, integers in pairs of four bytes, and functions that may be NULL.
unsafe impl Growing for vmdk_client_options {
    const NAME: &'static str = "vmdk_client_options";
}

/// Connects to a server and logs in. Blocks, for as long as the time-outs permit; the log callback
/// may be called. On success *client_out is a new client, to be freed with vmdk_client_free(); on
/// failure it is untouched, nothing is left on the server, and log will not be called any more.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_client_connect(
    options: *const vmdk_client_options,
    client_out: Option<&mut MaybeUninit<*mut vmdk_client>>,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let out = output(client_out, "client_out")?;
        // SAFETY: the header asks for NULL or as many bytes as struct_size says.
        let options = unsafe { sized::read(options) }?;
        let gate = Gate::new(options.log, options.log_user_data);
        // SAFETY: the header asks for strings that are valid during the call.
        let connected = unsafe { options.convert(&gate) }.and_then(Client::connect);
        if connected.is_err() {
            gate.close();
        }
        out.write(handle::make(vmdk_client {
            client: connected?,
            log: ClientLog {
                gate,
                user_data: options.log_user_data,
                free: options.log_free,
                ended: AtomicBool::new(false),
                process: std::process::id(),
            },
        }));
        Ok(())
    })
}

/// Logs out and frees a client; takes some seconds where the server does not answer. NULL is
/// permitted, and a handle that is no client, or was freed before, is left alone. Operations that
/// use the client go on: then this returns at once, and the last of them logs out; log is not
/// called any more all the same. Not to be called from a callback, where it does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_client_free(client: *mut vmdk_client) {
    quietly(|| {
        if inside_callback() {
            return;
        }
        let Some(freed) = handle::retire(client) else {
            return;
        };
        if !freed.is_only() {
            freed.log.end();
        }
        if freed.client.runtime().check_process().is_err() {
            return;
        }
        let mut freed = Some(freed);
        // The log-out takes stack; where there is no thread for it, there may still be enough here.
        let _ = apart::run(|| {
            drop(freed.take());
            Ok(())
        });
    });
}

impl vmdk_client {
    /// # Errors
    /// [`Kind::InvalidState`](crate::error::Kind::InvalidState) in a child of the process that connected.
    pub(super) fn client(&self) -> Result<&Client> {
        self.client.runtime().check_process()?;
        Ok(&self.client)
    }
}

/// After the client's own drop, which logs.
impl Drop for ClientLog {
    fn drop(&mut self) {
        self.end();
    }
}

impl ClientLog {
    /// Waits for records under way; the first time.
    fn end(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        // A forked child has none of the threads that log, but maybe the lock of one.
        if self.process == std::process::id() {
            self.gate.close();
        }
        if let Some(free) = self.free {
            // SAFETY: the gate is closed, so nothing uses user_data any more.
            outward(|| unsafe { free(self.user_data) });
        }
    }
}

impl vmdk_client_options {
    /// # Safety
    /// Every string is NULL or valid as [`text::optional`] asks.
    unsafe fn convert(&self, gate: &Arc<Gate>) -> Result<ConnectOptions> {
        let vmdk_client_options {
            struct_size: _,
            server,
            username,
            password,
            ca_file,
            pin,
            insecure,
            allow_plain_http,
            connect_timeout_ms,
            request_timeout_ms,
            keepalive_interval_ms,
            log_level,
            retries,
            retry_pause_ms,
            busy_timeout_ms,
            reserved,
            proxy,
            state_dir,
            log: _,
            log_user_data: _,
            log_free: _,
        } = *self;
        if reserved != 0 {
            return Err(invalid("reserved is not 0"));
        }
        let usual = Retries::default();
        let retries = Retries {
            count: match retries {
                0 => usual.count,
                VMDK_RETRIES_NONE => 0,
                count => count,
            },
            pause: milliseconds(retry_pause_ms).unwrap_or(usual.pause),
            busy: milliseconds(busy_timeout_ms).unwrap_or(usual.busy),
        };
        // SAFETY: the caller's promise is the one each of these asks for.
        unsafe {
            Ok(ConnectOptions {
                server: text::required(server, "server", LONGEST_NAME)?.to_owned(),
                username: text::required(username, "username", LONGEST_NAME)?.to_owned(),
                password: Zeroizing::new(
                    text::required(password, "password", LONGEST_VALUE)?.to_owned(),
                ),
                trust: trust(
                    text::name(ca_file, "ca_file", LONGEST_PATH)?,
                    text::name(pin, "pin", LONGEST_NAME)?,
                    flag(insecure),
                )?,
                connect_timeout: milliseconds(connect_timeout_ms),
                request_timeout: milliseconds(request_timeout_ms),
                keepalive_interval: milliseconds(keepalive_interval_ms),
                proxy: text::name(proxy, "proxy", LONGEST_NAME)?,
                allow_plain_http: flag(allow_plain_http),
                retries,
                state_dir: text::name(state_dir, "state_dir", LONGEST_PATH)?.map(PathBuf::from),
                log: gate.log(log_level)?,
            })
        }
    }
}

fn trust(ca_file: Option<String>, pin: Option<String>, insecure: bool) -> Result<Trust> {
    match (ca_file, pin, insecure) {
        (None, None, false) => Ok(Trust::System),
        (Some(path), None, false) => Ok(Trust::CaFile(PathBuf::from(path))),
        (None, Some(pin), false) => Ok(Trust::Pin(pin.parse()?)),
        (None, None, true) => Ok(Trust::Insecure),
        _ => Err(invalid(
            "more than one of ca_file, pin and insecure is given",
        )),
    }
}

/// A time-out from C: 0 is the default.
pub(super) fn milliseconds(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_millis(value.into()))
}
