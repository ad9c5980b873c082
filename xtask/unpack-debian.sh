#!/bin/sh
# Unpacks the program $3 of Debian's current package $2 into the folder $1 without installing it: a private apt
# configuration, so that the machine's own package lists, packages and services stay as they are.
set -eu
out=$1 package=$2 program=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$out"
: > "$work/status"
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ')
if [ -z "$mirror" ]; then
	echo "this machine names no Debian mirror; put $program into PATH" >&2
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
apt-get -q -c "$work/apt.conf" download "$package"
dpkg-deb -x "$package"_*.deb "$work/root"
install -m 0755 "$work/root/usr/bin/$program" "$out/$program"
