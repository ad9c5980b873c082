#!/bin/sh
# Unpacks Debian's current kubectl into the folder $1 without installing it: a private apt
# configuration, so that the machine's own package lists and packages stay as they are.
set -eu
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$out"
: > "$work/status"
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ')
if [ -z "$mirror" ]; then
	echo "this machine names no Debian mirror; put kubectl 1.30 or newer into PATH" >&2
	exit 1
fi
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$work/sources.list"
cat > "$work/apt.conf" <<CONF
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
CONF
apt-get -q -c "$work/apt.conf" update
cd "$work"
apt-get -q -c "$work/apt.conf" download kubectl
dpkg-deb -x kubectl_*.deb "$work/root"
install -m 0755 "$work/root/usr/bin/kubectl" "$out/kubectl"
