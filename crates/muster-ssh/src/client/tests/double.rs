//! An SSH server in this process that really runs commands, and a relay before it that can fall silent or break.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russh::keys::ssh_key::{LineEnding, certificate};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, MethodKind, MethodSet, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

pub(super) fn write_key(file: &std::path::Path, key: &PrivateKey) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, key.to_openssh(LineEnding::LF).unwrap()).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A certificate for a host, valid from and until so many seconds from now.
pub(super) fn certify(
    authority: &PrivateKey,
    host: &PublicKey,
    name: &str,
    from: i64,
    until: i64,
) -> Certificate {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let at = |offset: i64| now.checked_add_signed(offset).unwrap();
    let rng = &mut russh::keys::key::safe_rng();
    let builder = certificate::Builder::new_with_random_nonce(
        rng,
        host.key_data().clone(),
        at(from),
        at(until),
    );
    let mut builder = builder.unwrap();
    builder.cert_type(certificate::CertType::Host).unwrap();
    builder.valid_principal(name).unwrap();
    builder.sign(authority).unwrap()
}

/// What a server is like.
#[derive(Default, Clone)]
pub(super) struct Nature {
    pub(super) keys: Vec<PrivateKey>,
    pub(super) certificates: Vec<Certificate>,
    /// Who may come in with a key.
    pub(super) users_key: Option<PublicKey>,
    /// Who may come in with a password.
    pub(super) password: Option<String>,
    /// It asks for the password by questions only.
    pub(super) only_questions: bool,
    pub(super) no_sessions: bool,
    pub(super) no_forwarding: bool,
}

pub(super) struct Double {
    pub(super) address: SocketAddr,
    /// How many connections are open.
    pub(super) open: Arc<AtomicUsize>,
    /// How many were ever opened.
    pub(super) opened: Arc<AtomicUsize>,
}

impl Double {
    pub(super) async fn start(nature: Nature) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let double = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::default(),
            opened: Arc::default(),
        };
        let mut methods = MethodSet::empty();
        if nature.users_key.is_some() {
            methods.push(MethodKind::PublicKey);
        }
        if nature.password.is_some() {
            if !nature.only_questions {
                methods.push(MethodKind::Password);
            }
            methods.push(MethodKind::KeyboardInteractive);
        }
        let config = Arc::new(server::Config {
            keys: nature.keys.clone(),
            certificates: nature.certificates.clone(),
            methods,
            auth_rejection_time: std::time::Duration::ZERO,
            nodelay: true,
            ..server::Config::default()
        });
        let (open, opened) = (Arc::clone(&double.open), Arc::clone(&double.opened));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let guest = Guest {
                    nature: nature.clone(),
                    channels: HashMap::new(),
                };
                let (config, open) = (Arc::clone(&config), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, guest).await {
                        let _ = session.await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        double
    }
}

struct Guest {
    nature: Nature,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let known = self
            .nature
            .users_key
            .as_ref()
            .is_some_and(|mine| mine.key_data() == key.public_key.key_data());
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        let right =
            !self.nature.only_questions && self.nature.password.as_deref() == Some(password);
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let answer = response.next();
        let right = answer.as_deref() == self.nature.password.as_deref().map(str::as_bytes);
        Ok(if right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.nature.no_sessions {
            reply
                .reject(russh::ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.nature.no_forwarding {
            reply
                .reject(russh::ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        let Ok(mut stream) = TcpStream::connect((host, u16::try_from(port).unwrap())).await else {
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            let mut channel = channel.into_stream();
            let _ = tokio::io::copy_bidirectional(&mut channel, &mut stream).await;
        });
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let channel = self.channels.remove(&id).unwrap();
        session.channel_success(id)?;
        tokio::spawn(execute(
            channel,
            String::from_utf8(command.to_vec()).unwrap(),
        ));
        Ok(())
    }
}

/// Runs a command as sshd does: by a shell, in a session of its own, its input ending with the channel.
async fn execute(channel: Channel<Msg>, command: String) {
    let mut child = tokio::process::Command::new("setsid")
        .args(["sh", "-c", &command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (mut reader, writer) = channel.split();
    let writer = Arc::new(writer);
    tokio::spawn(async move {
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    if let Some(stdin) = &mut stdin {
                        let _ = stdin.write_all(&data).await;
                    }
                }
                ChannelMsg::Eof => drop(stdin.take()),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    });
    let out = async {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut piece).await {
            let _ = writer.data_bytes(piece[..length].to_vec()).await;
        }
    };
    let err = async {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut piece).await {
            let _ = writer
                .extended_data_bytes(1, piece[..length].to_vec())
                .await;
        }
    };
    tokio::join!(out, err);
    let status = child.wait().await.unwrap();
    let _ = writer
        .exit_status(
            status
                .code()
                .and_then(|code| u32::try_from(code).ok())
                .unwrap_or(255),
        )
        .await;
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// Passes bytes on, until it does not any more.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    frozen: Arc<watch::Sender<bool>>,
    broken: Arc<watch::Sender<bool>>,
    pub(super) open: Arc<AtomicUsize>,
}

impl Relay {
    pub(super) async fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            frozen: Arc::new(watch::channel(false).0),
            broken: Arc::new(watch::channel(false).0),
            open: Arc::default(),
        };
        let (frozen, broken, open) = (
            Arc::clone(&relay.frozen),
            Arc::clone(&relay.broken),
            Arc::clone(&relay.open),
        );
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(address).await.unwrap();
                let (frozen, mut broken, open) =
                    (frozen.subscribe(), broken.subscribe(), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    let there = pass(near_read, far_write, frozen.clone());
                    let back = pass(far_read, near_write, frozen);
                    tokio::select! {
                        () = there => {}
                        () = back => {}
                        _ = broken.wait_for(|broken| *broken) => {}
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        relay
    }

    /// From now on nothing passes, in either direction. Ends are still noticed.
    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// All connections end at once.
    pub(super) fn cut(&self) {
        self.broken.send_replace(true);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        if *frozen.borrow() {
            // A silent machine reads nothing more, but its kernel hears of the end.
            while from
                .as_ref()
                .take_error()
                .is_ok_and(|error| error.is_none())
            {
                let ready = from.ready(tokio::io::Interest::READABLE).await;
                if ready.is_ok_and(|ready| ready.is_read_closed()) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            return;
        }
        tokio::select! {
            _ = frozen.changed() => {}
            read = from.read(&mut piece) => match read {
                Ok(length @ 1..) => {
                    if to.write_all(&piece[..length]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}
