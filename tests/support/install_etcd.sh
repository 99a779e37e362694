#!/bin/sh
# Install etcd and etcdctl with Debian's packages, unless both are there. `make test` runs it: the
# tests compare with a real etcd, and drive the store with etcd's own etcdctl.
set -eu

if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then
	exit 0
fi

refuse() {
	{
		echo "The tests compare with a real etcd, and there is no etcd or no etcdctl on PATH: $1"
		echo "Install them, as root on Debian or Ubuntu:  apt-get install etcd-server etcd-client"
		echo "or go without: \`.venv/bin/python -m pytest\` skips the tests that need them."
	} >&2
	exit 1
}

command -v apt-get >/dev/null || refuse "this is no Debian."
if test "$(id -u)" = 0; then
	sudo=
elif ! command -v sudo >/dev/null; then
	refuse "you are not root, and there is no sudo."
elif sudo -n true 2>/dev/null || test -t 0; then
	sudo=sudo
else
	refuse "sudo wants a password, and nobody can be asked for it."
fi

echo "Installing etcd-server and etcd-client with apt-get (a minute, once) ..."
$sudo apt-get update -q
# Debian starts a service when its package is installed, unless a policy says no; ours lasts as long
# as the installation.
$sudo sh -c '
	policy=/usr/sbin/policy-rc.d
	test -e $policy || {
		trap "rm -f $policy" EXIT
		printf "#!/bin/sh\nexit 101\n" >$policy
		chmod 755 $policy
	}
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q etcd-server etcd-client'
