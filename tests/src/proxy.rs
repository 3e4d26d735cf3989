//! A TCP proxy that breaks a connection at the moment that a test names.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What becomes of the next message that holds the words, and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets it, and the connection ends.
    Before,
    /// The server gets it, its answer is lost, and the connection ends.
    After,
    /// The server never gets it, and nobody is told: the connection does not end, as where a network is cut.
    Silence,
}

/// A proxy in front of a port of this machine. Its threads end with their connections, and with the test process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    server_port: Arc<AtomicU16>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    next: Option<(Vec<u8>, Cut)>,
    cuts: usize,
}

impl Proxy {
    /// Listens on a free port, and passes everything on to `server_port`.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn to(server_port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let shared = Arc::clone(&plan);
        let server_port = Arc::new(AtomicU16::new(server_port));
        let target = Arc::clone(&server_port);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address =
                    SocketAddr::from((Ipv4Addr::LOCALHOST, target.load(Ordering::SeqCst)));
                // A server that is away is as away behind the proxy.
                let Ok(server) = TcpStream::connect(address) else { continue };
                pass_on(client, server, &shared);
            }
        });
        Proxy { port, server_port, plan }
    }

    /// Passes new connections on to this port: where a server that was started again listens.
    pub fn redirect(&self, server_port: u16) {
        self.server_port.store(server_port, Ordering::SeqCst);
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks the connection of the next message that holds these bytes.
    pub fn cut_next(&self, bytes: &[u8], cut: Cut) {
        self.plan().next = Some((bytes.to_vec(), cut));
    }

    /// How many connections it has broken.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.plan().cuts
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(client: TcpStream, server: TcpStream, plan: &Arc<Mutex<Plan>>) {
    let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let lost = Arc::new(Mutex::new(false));
    let (plan, is_lost) = (Arc::clone(plan), Arc::clone(&lost));
    thread::spawn(move || {
        copy(client, &to_server, |message| {
            let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
            let is_it = |bytes: &[u8]| message.windows(bytes.len()).any(|window| window == bytes);
            let Some((_, cut)) = plan.next.take_if(|(bytes, _)| is_it(bytes)) else { return true };
            plan.cuts += 1;
            drop(plan);
            if cut == Cut::Silence {
                loop {
                    thread::park();
                }
            }
            *is_lost.lock().unwrap_or_else(PoisonError::into_inner) = cut == Cut::After;
            cut == Cut::After
        });
    });
    thread::spawn(move || {
        copy(server, &to_client, |_| !*lost.lock().unwrap_or_else(PoisonError::into_inner));
    });
}

/// Copies what comes for as long as `passes` says so; then both ends are closed.
fn copy(mut from: TcpStream, mut to: &TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !passes(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
