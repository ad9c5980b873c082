//! Real machines for fleets, on one kernel: each has an address, an sshd, users, sudo and a view of the file system of its own,
//! so that eight joins on one machine do not meet. Everything goes when the bed is dropped or the test dies.
//!
//! It needs root, iproute2, util-linux, openssh-server and sudo.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::harness::{MUSTER, TestServer, wait_for};

/// What names of our links and namespaces begin with.
const PREFIX: &str = "mfb";
/// What names of our folders begin with.
const FOLDER: &str = "muster-bed-";
/// The folders of a machine that are its own.
const OWN: &[&str] = &[
    "run", "var/lib", "var/log", "home", "root", "opt", "etc", "tmp",
];
/// The user who may use sudo there, and what sudo asks for where it asks.
pub(crate) const USER: &str = "ada";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// Becomes a machine. `$1` the folder of its own folders, `$2` its name, `$3` how sudo behaves.
const BECOME: &str = r#"set -eu
here=$1 name=$2 sudo=$3
mount --make-rprivate /
hostname "$name"
cp -a /etc/. "$here/etc/"
rm -rf "$here/etc/kubernetes" "$here/etc/sudoers.d" "$here/etc/rancher"
mkdir -p "$here/etc/sudoers.d" "$here/home/ada/.ssh" "$here/root/.ssh" "$here/run/sshd" "$here/var/lib/sudo"
echo "$name" >"$here/etc/hostname"
echo "127.0.0.1 localhost $name" >"$here/etc/hosts"
echo "ada:x:5001:5001::/home/ada:/bin/sh" >>"$here/etc/passwd"
echo "ada:x:5001:" >>"$here/etc/group"
echo "ada:$(cat "$here/password"):19000:0:99999:7:::" >>"$here/etc/shadow"
case $sudo in
  passwordless) echo "ada ALL=(ALL) NOPASSWD: ALL" ;;
  password) echo "ada ALL=(ALL) ALL" ;;
  none) ;;
esac >"$here/etc/sudoers.d/fleet"
chmod 0440 "$here/etc/sudoers.d/fleet"
cp "$here/../id.pub" "$here/home/ada/.ssh/authorized_keys"
cp "$here/../id.pub" "$here/root/.ssh/authorized_keys"
chown -R 5001:5001 "$here/home/ada"
chmod 0700 "$here/home/ada/.ssh" "$here/root" "$here/root/.ssh"
chmod 1777 "$here/tmp"
for folder in run var/lib var/log home root opt etc tmp; do mount --bind "$here/$folder" "/$folder"; done
/usr/sbin/sshd -D -f /run/sshd_config -E /var/log/auth.log &
wait
"#;

/// What sshd does there.
const SSHD: &str = "AuthorizedKeysFile .ssh/authorized_keys\nPermitRootLogin prohibit-password\nUsePAM yes\n\
    PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nLogLevel VERBOSE\nMaxStartups 100\n\
    PrintMotd no\nUseDNS no\n";

/// How sudo behaves on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SudoThere {
    Passwordless,
    Password,
    NotAllowed,
}

/// Machines on a bridge of their own.
pub(crate) struct FleetBed {
    pub(crate) folder: tempfile::TempDir,
    id: u32,
    octet: u8,
    pub(crate) hosts: Vec<BedHost>,
}

/// One machine.
pub(crate) struct BedHost {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) namespace: String,
    /// Below it are the folders that the machine has for its own.
    pub(crate) root: PathBuf,
    init: Option<Child>,
}

impl FleetBed {
    /// Starts machines whose sudo behaves as given, one for each.
    pub(crate) fn start(sudo: &[SudoThere]) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes namespaces and needs root"
        );
        remove_abandoned();
        let id = std::process::id();
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER}{id}-"))
            .tempdir()
            .unwrap();
        let octet = free_octet();
        // Users of the machines go through it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut bed = Self {
            folder,
            id,
            octet,
            hosts: Vec::new(),
        };
        bed.make_network(sudo.len());
        ok(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(bed.path("id")));
        let hash = ok(Command::new("openssl").args(["passwd", "-6", PASSWORD]));
        let mut known = String::new();
        for (index, sudo) in sudo.iter().enumerate() {
            let host = bed.make_host(index, *sudo, &hash);
            let key = fs::read_to_string(host.root.join("host_key.pub")).unwrap();
            known.push_str(&format!("{} {key}", host.address));
            bed.hosts.push(host);
        }
        fs::write(bed.path("known_hosts"), known).unwrap();
        let config = format!(
            "Host *\n  User {USER}\n  IdentityFile {0}/id\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {0}/known_hosts\n  \
             GlobalKnownHostsFile none\n  HashKnownHosts no\n",
            bed.folder.path().display()
        );
        fs::write(bed.path("ssh_config"), config).unwrap();
        for host in &bed.hosts {
            host.wait_until_it_listens();
        }
        bed
    }

    /// So many machines without peculiarities.
    pub(crate) fn of(machines: usize) -> Self {
        Self::start(&vec![SudoThere::Passwordless; machines])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of this machine on the bridge.
    pub(crate) fn own_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.octet, 1)
    }

    fn bridge(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    fn make_network(&self, machines: usize) {
        let bridge = self.bridge();
        let mut lines = format!(
            "link add {bridge} type bridge\naddr add {}/24 dev {bridge}\nlink set {bridge} up\n",
            self.own_address()
        );
        for index in 0..machines {
            let (namespace, link) = (self.namespace(index), self.link(index));
            lines.push_str(&format!(
                "netns add {namespace}\nlink add {link} type veth peer name eth0 netns {namespace}\nlink set {link} master {bridge} up\n"
            ));
        }
        batch(&[], &lines);
        for index in 0..machines {
            let lines = format!(
                "addr add {}/24 dev eth0\nlink set eth0 up\nlink set lo up\nroute add default via {}\n",
                self.address(index),
                self.own_address()
            );
            batch(&["-n", &self.namespace(index)], &lines);
        }
    }

    fn namespace(&self, index: usize) -> String {
        format!("{PREFIX}-{}-{index}", self.id)
    }

    fn link(&self, index: usize) -> String {
        format!("{PREFIX}{}v{index}", self.id)
    }

    fn address(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.octet, u8::try_from(10 + index).unwrap())
    }

    fn make_host(&self, index: usize, sudo: SudoThere, hash: &str) -> BedHost {
        let name = format!("host-{index}");
        let root = self.path(&name);
        for folder in OWN {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("password"), hash.trim()).unwrap();
        let key = root.join("host_key");
        ok(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key));
        let mut host = BedHost {
            address: self.address(index),
            namespace: self.namespace(index),
            name,
            root,
            init: None,
        };
        let config = format!(
            "{SSHD}HostKey /run/host_key\nListenAddress {}\n",
            host.address
        );
        fs::write(host.root.join("run/sshd_config"), config).unwrap();
        fs::copy(&key, host.root.join("run/host_key")).unwrap();
        let how = match sudo {
            SudoThere::Passwordless => "passwordless",
            SudoThere::Password => "password",
            SudoThere::NotAllowed => "none",
        };
        let log = fs::File::create(self.path(&format!("{}.log", host.name))).unwrap();
        // The first process of the machine dies with whoever started it, and everything in the machine with that.
        let init = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "ip",
                "netns",
                "exec",
                &host.namespace,
            ])
            .args([
                "unshare",
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", BECOME, "sh"])
            .arg(&host.root)
            .args([&host.name, how])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .env_remove("SSH_AUTH_SOCK")
            .spawn()
            .unwrap();
        host.init = Some(init);
        host
    }

    /// A server that the machines can reach, and its address for them.
    pub(crate) fn server(&self) -> (TestServer, String) {
        let port = TcpListener::bind((self.own_address(), 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let endpoint = format!("{}:{port}", self.own_address());
        let server =
            TestServer::start_with(&["--bind", &endpoint, "--advertise-address", &endpoint]);
        (server, endpoint)
    }

    /// A client of OpenSSH, for looking at a machine by other means than the program's own.
    pub(crate) fn openssh(&self, host: usize, command: &str) -> Output {
        Command::new("ssh")
            .arg("-F")
            .arg(self.path("ssh_config"))
            .args([
                "-l",
                "root",
                "-o",
                "BatchMode=yes",
                &self.hosts[host].address.to_string(),
                command,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// From now on packets to a machine are lost.
    pub(crate) fn unplug(&self, host: usize) {
        let link = self.link(host);
        ok(Command::new("ip").args(["link", "set", &link, "down"]));
    }

    /// The program, small enough to be copied many times, and put where the machines look for it when `placed`.
    pub(crate) fn program(&self, placed: bool) -> PathBuf {
        let program = self.path("muster");
        if !program.exists() {
            ok(Command::new("strip").arg("-o").arg(&program).arg(MUSTER));
        }
        if placed {
            let sum = ok(Command::new("sha256sum").arg(&program));
            for host in &self.hosts {
                let folder = host.root.join("opt/muster/bin");
                fs::create_dir_all(&folder).unwrap();
                let place = folder.join(format!("muster-{}", &sum[..16]));
                if !place.exists() {
                    fs::hard_link(&program, place).unwrap();
                }
            }
        }
        program
    }
}

impl BedHost {
    fn wait_until_it_listens(&self) {
        wait_for(&self.name, || {
            std::net::TcpStream::connect((self.address, 22))
                .map(|_| ())
                .map_err(|error| {
                    let log =
                        fs::read_to_string(self.root.with_extension("log")).unwrap_or_default();
                    format!("{error}\n{log}")
                })
        });
    }

    /// What sshd and sudo wrote down there.
    pub(crate) fn auth_log(&self) -> String {
        fs::read_to_string(self.root.join("var/log/auth.log")).unwrap_or_default()
    }

    /// A path on the machine, as seen from outside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether anything of a node is there.
    pub(crate) fn has_joined(&self) -> bool {
        self.path("etc/kubernetes/kubelet.conf").exists()
    }

    /// What a join leaves behind when it is not taken back whole: paths.
    pub(crate) fn traces(&self) -> Vec<String> {
        let places = [
            "etc/kubernetes/kubelet.conf",
            "etc/kubernetes/bootstrap-kubelet.conf",
            "etc/kubernetes/pki/ca.crt",
            "var/lib/kubelet/config.yaml",
            "var/lib/kubelet/pki",
        ];
        let there = places.iter().filter(|path| self.path(path).exists());
        there.map(|path| (*path).to_owned()).collect()
    }

    /// Kills everything on the machine.
    pub(crate) fn stop(&mut self) {
        if let Some(mut init) = self.init.take() {
            let _ = init.kill();
            let _ = init.wait();
        }
    }
}

impl Drop for FleetBed {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.stop();
        }
        remove_of(self.id);
    }
}

/// The text of a program that succeeded.
fn ok(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn batch(options: &[&str], lines: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "ip: {lines}");
}

/// A 10.214.N.0/24 that nothing on this machine uses.
fn free_octet() -> u8 {
    let routes = ok(Command::new("ip").args(["-4", "route", "show"]));
    // Tests that start at the same time look in different places first.
    let first = std::process::id() % 254;
    let octets = (0..254).map(|step| u8::try_from((first + step) % 254 + 1).unwrap());
    let mut free = octets.filter(|octet| !routes.contains(&format!("10.214.{octet}.")));
    free.next().expect("a free network")
}

fn remove_of(id: u32) {
    let ip = |arguments: &[&str]| Command::new("ip").args(arguments).output().unwrap();
    let listed = ip(&["netns", "list"]);
    let prefix = format!("{PREFIX}-{id}-");
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if let Some(index) = name.strip_prefix(&prefix) {
            ip(&["link", "delete", &format!("{PREFIX}{id}v{index}")]);
            ip(&["netns", "delete", name]);
        }
    }
    ip(&["link", "delete", &format!("{PREFIX}{id}")]);
}

/// Removes what tests left behind that were killed.
fn remove_abandoned() {
    let is_gone = |owner: &u32| !Path::new(&format!("/proc/{owner}")).exists();
    let owner = |rest: &str| rest.split('-').next()?.parse::<u32>().ok();
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let rest = line
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-'));
        if let Some(owner) = rest.and_then(owner).filter(is_gone) {
            remove_of(owner);
        }
    }
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if rest.and_then(owner).as_ref().is_some_and(is_gone) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
