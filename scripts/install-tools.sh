#!/bin/sh
# Installs what the build, the demo and the tests need and this machine lacks, with apt.
#
#   install-tools.sh build|demo|test|bench
#
# Nothing is done where everything is there already. Root installs directly, others through sudo where it asks for no
# password or a person can type it. Anything missing in the end is a failure (exit 69) that names it.
set -eu

set_of_tools=${1:-test}
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"

# One line per tool: the program (or a file), the package it comes from, the smallest set that needs it.
tools() {
  cat <<'LIST'
cc gcc build
make make build
nginx nginx-light demo
named bind9 test
/usr/bin/dnssec-signzone bind9-utils test
/usr/bin/dig bind9-dnsutils test
apache2 apache2 test
haproxy haproxy test
/usr/share/tomcat10/bin/catalina.sh tomcat10 test
/usr/share/tomcat10-admin/manager/WEB-INF/web.xml tomcat10-admin test
/usr/sbin/postfix postfix test
/usr/lib/dovecot/imap-login dovecot-imapd test
/usr/lib/dovecot/pop3-login dovecot-pop3d test
/usr/lib/postgresql postgresql test
openssl openssl demo
curl curl demo
keytool default-jre-headless demo
systemd-analyze systemd test
systemd-nspawn systemd-container test
/usr/bin/dbus-daemon dbus test
/usr/lib/python3/dist-packages/dbusmock/__init__.py python3-dbusmock test
setpriv util-linux test
unshare util-linux test
man man-db test
ps procps test
setfacl acl test
useradd passwd test
git git test
/usr/bin/python3 python3 test
/usr/lib/python3/dist-packages/aiosmtpd/smtp.py python3-aiosmtpd test
faketime faketime test
sqlite3 sqlite3 test
/usr/lib/python3/dist-packages/jsonschema/__init__.py python3-jsonschema test
/usr/lib/python3/dist-packages/prometheus_client/parser.py python3-prometheus-client test
/usr/share/perl5/Monitoring/Plugin/Performance.pm libmonitoring-plugin-perl test
script bsdutils test
lintian lintian test
msmtp msmtp test
pebble pebble bench
LIST
}

wanted() {
  case "$set_of_tools:$1" in
    test:bench) return 1 ;;
    test:* | demo:demo | demo:build | build:build | bench:bench | bench:demo | bench:build) return 0 ;;
    *) return 1 ;;
  esac
}

missing() {
  tools | while read -r program package needed_by; do
    if wanted "$needed_by" && ! [ -e "$program" ] && ! command -v "$program" >/dev/null 2>&1; then
      echo "$package"
    fi
  done
  # Debian keeps what makes environments apart from Python itself.
  if [ "$set_of_tools" = test ] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo python3-venv; fi
  # A compiler without the C library's headers compiles nothing.
  if ! [ -e /usr/include/stdlib.h ]; then echo libc6-dev; fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
  if [ "$(id -u)" = 0 ]; then return 0; fi
  command -v sudo >/dev/null 2>&1 || return 1
  # Without a terminal nobody can answer a question.
  if [ -t 0 ]; then return 0; fi
  sudo -n true 2>/dev/null
}

fail() {
  echo "install-tools: $*" >&2
  exit 69
}

case "$set_of_tools" in
  build | demo | test | bench) ;;
  *) echo "usage: install-tools.sh build|demo|test|bench" >&2; exit 64 ;;
esac

command -v cargo >/dev/null 2>&1 ||
  fail "cargo is missing: install a Rust toolchain (https://rustup.rs, or your distribution's packages), version 1.95 or newer"
if [ "$set_of_tools" = test ]; then
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    case $component in fmt) component=rustfmt ;; esac
    echo "install-tools: adding $component to the Rust toolchain"
    rustup component add "$component" >/dev/null 2>&1 ||
      fail "the Rust toolchain has no $component: add it (rustup component add $component)"
  done
fi

if [ "$set_of_tools" = test ] && ! cargo deb --version >/dev/null 2>&1; then
  echo "install-tools: building cargo-deb, which takes a few minutes"
  cargo install --quiet --locked cargo-deb || fail "cargo-deb is missing: cargo install --locked cargo-deb"
fi

# Huawei's own SDK, which must be able to use renewd-ccm, and schemathesis, which holds it to its own description: in a
# Python environment of their own below the build directory.
sdk=${CARGO_TARGET_DIR:-target}/sdk-venv
python_packages='huaweicloudsdkcore==3.1.219 huaweicloudsdkscm==3.1.219 huaweicloudsdkccm==3.1.219 schemathesis==4.32.5 dnspython==2.9.2'
python_environment() {
  [ "$set_of_tools" = test ] || return 0
  if [ "$(cat "$sdk/packages" 2>/dev/null)" = "$python_packages" ]; then return 0; fi
  echo "install-tools: making a Python environment in $sdk"
  rm -rf "$sdk"
  python3 -m venv "$sdk" || fail "python3 has no venv: install python3-venv"
  # shellcheck disable=SC2086 # a list of words
  "$sdk/bin/python" -m pip install --quiet --disable-pip-version-check $python_packages ||
    fail "pip could not install: $python_packages"
  echo "$python_packages" >"$sdk/packages"
}

packages=$(missing | sort -u | tr '\n' ' ')
packages=${packages% }
[ -n "$packages" ] || { python_environment; exit 0; }

command -v apt-get >/dev/null 2>&1 ||
  fail "missing: $packages (Debian's names); this machine has no apt-get, so install them by hand"
can_be_root || fail "missing: $packages; install them as root: apt-get install $packages"

echo "install-tools: installing $packages"
log=$(mktemp)
# Installing nginx must not start a web server on port 80 of somebody's machine.
policy=/usr/sbin/policy-rc.d
ours=no
if ! [ -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod 755 $policy
  ours=yes
fi
cleanup() {
  if [ "$ours" = yes ]; then as_root rm -f $policy; fi
  rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

install() {
  # shellcheck disable=SC2086 # a list of words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages >>"$log" 2>&1
}
# The lists of a machine are often good enough; fetched only when they are not.
install || { as_root apt-get update >>"$log" 2>&1 && install; } || {
  tail -n 20 "$log" >&2
  fail "apt-get could not install: $packages"
}

left=$(missing | sort -u | tr '\n' ' ')
[ -z "$left" ] || fail "still missing after the installation: $left"
python_environment
