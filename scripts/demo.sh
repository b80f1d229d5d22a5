#!/bin/bash
# One certificate, end to end: issued by renewd-ccm, served by a real nginx, renewed under load, and rolled back.
#
# Needs the debug build (`make demo` makes it), nginx, openssl, curl and keytool; no root. Works in a temporary directory on
# loopback ports and leaves nothing behind. Ends with an error if anything that it shows is not so.
# KEEP=1 keeps the directory for a look; RENEWD_BIN takes the two programs from another directory.
set -euo pipefail

cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"
bin=${RENEWD_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/debug}
name=www.demo.test

# --- Showing ------------------------------------------------------------------------------------------------------

bold='' dim='' red='' green='' off=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' off=$'\e[0m'
  # renewd writes into a pipe here, and would leave them out.
  export CLICOLOR_FORCE=1
fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$off"; }
note() { printf '   %s\n' "$*"; }
ok() { printf '   %sok%s %s\n' "$green" "$off" "$*"; }
command_line() { printf '   %s$ %s%s\n' "$dim" "$*" "$off"; }
fail() { printf '   %sFAILED%s %s\n' "$red" "$off" "$*" >&2; exit 1; }

# --- Everything started here ends here ------------------------------------------------------------------------------

dir=$(mktemp -d "${TMPDIR:-/tmp}/renewd-demo.XXXXXX")
dir=$(cd "$dir" && pwd -P)
chmod 755 "$dir"
ccm_pid=''
nginx_pid() { cat "$dir/nginx/nginx.pid" 2>/dev/null || true; }
gone() { # PID: waits until it ended; a zombie has ended.
  local tries=100 state
  while [ $tries -gt 0 ]; do
    state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null || true)
    case $state in '' | Z | X) return 0 ;; esac
    sleep 0.05
    tries=$((tries - 1))
  done
  return 1
}
cleanup() {
  status=$?
  trap - EXIT
  touch "$dir/stop" 2>/dev/null || true
  local pid
  pid=$(nginx_pid)
  if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; gone "$pid" || kill -9 "$pid" 2>/dev/null || true; fi
  if [ -n "$ccm_pid" ]; then kill "$ccm_pid" 2>/dev/null || true; gone "$ccm_pid" || kill -9 "$ccm_pid" 2>/dev/null || true; fi
  wait 2>/dev/null || true
  if [ $status != 0 ]; then
    for log in "$dir"/ccm.log "$dir"/nginx/error.log; do
      if [ -s "$log" ]; then printf '\n--- the end of %s\n' "$log" >&2; tail -n 15 "$log" >&2; fi
    done
  fi
  if [ -n "${KEEP:-}" ]; then note "kept: $dir"; else rm -rf "$dir"; fi
  exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- Helpers --------------------------------------------------------------------------------------------------------

# The string behind a key of a JSON object on standard input.
json() { tr -d '\n' | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}

# What nginx shows to a client: the leaf as PEM.
served() {
  openssl s_client -connect "127.0.0.1:$port" -servername "$name" </dev/null 2>/dev/null | openssl x509 2>/dev/null
}
serial() { served | openssl x509 -noout -serial | cut -d= -f2; }

# Runs renewd, shows what it says as it comes, and keeps it in $dir/out. The status is its own.
renewd() {
  command_line "renewd --config demo.toml $*"
  local status=0
  "$bin/renewd" --config "$dir/demo.toml" "$@" 2>&1 | tee "$dir/out" | sed -u 's/^/   /' || status=$?
  return $status
}

# --- The demonstration ----------------------------------------------------------------------------------------------

for program in "$bin/renewd" "$bin/renewd-ccm" nginx openssl curl keytool; do
  command -v "$program" >/dev/null || fail "$program is missing; 'make demo' builds and installs what is needed"
done
started=$SECONDS
mkdir -p "$dir/secrets" "$dir/nginx/tls" "$dir/nginx/tmp" "$dir/load"
chmod 700 "$dir/secrets"

step "1. A certificate service: renewd-ccm, with a certificate authority of its own"
"$bin/renewd-ccm" --state "$dir/ccm" ca init --json >"$dir/ca.json" 2>"$dir/init.log"
sed 's/^[^ ]* *WARN */   renewd-ccm says: /' "$dir/init.log"
"$bin/renewd-ccm" --state "$dir/ccm" user add demo --json >"$dir/user.json"
(umask 077
  json access_key <"$dir/user.json" >"$dir/secrets/access-key"
  json secret_key <"$dir/user.json" >"$dir/secrets/secret-key"
  openssl rand -hex 16 >"$dir/secrets/keystore-password")
rm -f "$dir/user.json"
# The redirection below happens in the background, perhaps after the first look.
: >"$dir/ccm.out"
"$bin/renewd-ccm" --state "$dir/ccm" serve --listen 127.0.0.1:0 >"$dir/ccm.out" 2>"$dir/ccm.log" &
ccm_pid=$!
for _ in $(seq 200); do
  endpoint=$(sed -n '1s/^listening on //p' "$dir/ccm.out")
  [ -z "$endpoint" ] || break
  kill -0 "$ccm_pid" 2>/dev/null || fail "renewd-ccm ended at once"
  sleep 0.05
done
[ -n "$endpoint" ] || fail "renewd-ccm did not say where it listens"
ca=$(json issuing_common_name <"$dir/ca.json")
[ -n "$ca" ] || fail "renewd-ccm made no CA: $(cat "$dir/ca.json")"
ok "$endpoint, with a root CA and \"$ca\""

step "2. A web server: nginx as it often is, with a self-signed certificate that nobody renews"
port=$(free_port)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$name" \
  -addext "subjectAltName=DNS:$name" -keyout "$dir/nginx/tls/server.key" -out "$dir/nginx/tls/server.crt" 2>/dev/null
cat >"$dir/nginx/nginx.conf" <<NGINX
worker_processes 2;
pid $dir/nginx/nginx.pid;
error_log $dir/nginx/error.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path $dir/nginx/tmp; proxy_temp_path $dir/nginx/tmp; fastcgi_temp_path $dir/nginx/tmp;
  uwsgi_temp_path $dir/nginx/tmp; scgi_temp_path $dir/nginx/tmp;
  server {
    listen 127.0.0.1:$port ssl;
    server_name $name demo.test;
    ssl_certificate $dir/nginx/tls/server.crt;
    ssl_certificate_key $dir/nginx/tls/server.key;
    location / { return 200 "hello from $name\\n"; }
  }
}
NGINX
nginx -p "$dir/nginx" -c nginx.conf -e error.log
placeholder=$(serial)
[ -n "$placeholder" ] || fail "nginx does not answer on port $port"
ok "127.0.0.1:$port serves $(served | openssl x509 -noout -subject -nameopt RFC2253), self-signed, serial $placeholder"

sed -e "s#/run/renewd-demo#$dir#g" -e "s#http://127.0.0.1:8920#$endpoint#" -e "s#127.0.0.1:9443#127.0.0.1:$port#" \
  -e "s#renewd-ccm Issuing CA#$ca#" -e "s#/usr/sbin/nginx#$(command -v nginx)#g" config/demo.toml >"$dir/demo.toml"

step "3. renewd once: an order, a certificate, three kinds of bundles, a reload, a proof"
renewd validate || fail "the policy is refused"
renewd once || fail "renewd once ended with status $?"
for done in "order opened" "issuer found" "key stored" "CSR sent" "certificate issued" "bundles written" \
  "configuration tested" "service reloaded" "handshake proven"; do
  grep -qF "$done" "$dir/out" || fail "renewd does not say '$done'"
done
first=$(serial)
[ "$first" != "$placeholder" ] || fail "nginx still serves the placeholder"
live=$dir/state/targets/web/live/www
# The roots of the demo for curl: what the CA sent along.
cat "$live/chain.pem" >"$dir/roots.pem"

step "4. Look at it with other people's tools"
served >"$dir/leaf.pem"
note "openssl: serial $first"
note "openssl: $(openssl x509 -in "$dir/leaf.pem" -noout -ext subjectAltName | tail -n 1 | sed 's/^ *//')"
note "openssl: $(openssl x509 -in "$dir/leaf.pem" -noout -enddate)"
page=$(curl -sS --cacert "$dir/roots.pem" --resolve "$name:$port:127.0.0.1" "https://$name:$port/") ||
  fail "curl does not trust what nginx serves"
ok "curl trusts it: $page"
openssl pkcs12 -in "$live/server.pfx" -passin "file:$dir/secrets/keystore-password" -nokeys -clcerts 2>/dev/null |
  openssl x509 -noout -serial | grep -qi "=$first\$" || fail "the PFX holds another certificate"
ok "openssl reads the PFX: the same serial"
keytool -list -v -keystore "$live/server.jks" -storetype JKS -storepass:file "$dir/secrets/keystore-password" 2>/dev/null |
  grep -i '^Serial number:' | head -n 1 | tr -d ' ' | grep -qiE ":0*${first#0}\$" || fail "the JKS holds another certificate"
ok "keytool reads the JKS: the same serial"

step "5. Renew it now, while clients keep connecting"
rm -f "$dir/stop"
client() { # NUMBER: connects anew again and again until told to stop; writes how often it went well, and every failure.
  local good=0
  while [ ! -e "$dir/stop" ]; do
    if curl -sS -o /dev/null --max-time 10 --cacert "$dir/roots.pem" --resolve "$name:$port:127.0.0.1" \
      "https://$name:$port/" 2>>"$dir/load/failures.$1"; then good=$((good + 1)); else echo "request failed" >>"$dir/load/failures.$1"; fi
  done
  echo "$good" >"$dir/load/good.$1"
}
clients=()
for number in 1 2 3 4; do client "$number" & clients+=($!); done
sleep 0.5
renewd renew www || fail "renewd renew ended with status $?"
sleep 0.5
touch "$dir/stop"
wait "${clients[@]}"
good=$(cat "$dir"/load/good.* | awk '{ sum += $1 } END { print sum }')
bad=$(cat "$dir"/load/failures.* | grep -c 'request failed' || true)
second=$(serial)
[ "$second" != "$first" ] || fail "nginx still serves serial $first"
ok "a new serial is served: $second"
if [ "$bad" != 0 ]; then cat "$dir"/load/failures.* >&2; fail "$bad of $((good + bad)) requests failed"; fi
[ "$good" -gt 0 ] || fail "no request was made"
ok "$good new connections during the renewal, $bad failed"

step "6. Break nginx's configuration, and renew again"
sed -i 's/worker_processes 2;/worker_processes two;/' "$dir/nginx/nginx.conf"
note "somebody wrote 'worker_processes two;' into nginx.conf"
if renewd renew www; then fail "renewd says that all is well"; fi
grep -qi 'alert' "$dir/out" || fail "no alert in the output"
ok "there is an alert in the output"
[ "$(serial)" = "$second" ] || fail "nginx serves serial $(serial) instead of the old $second"
ok "the old certificate is still served: $second"
openssl x509 -in "$dir/nginx/tls/server.crt" -noout -serial | grep -qi "=$second\$" || fail "the file holds another certificate"
[ "$(openssl x509 -in "$dir/nginx/tls/server.crt" -noout -pubkey)" = "$(openssl pkey -in "$dir/nginx/tls/server.key" -pubout)" ] ||
  fail "key and certificate do not match"
ok "and it lies on disk again, with its key: a restart of nginx would serve it too"

step "7. renewd status"
renewd status || fail "renewd status ended with status $?"

printf '\n%s%s%s\n' "$bold" "Done in $((SECONDS - started)) s: issued, exported, served, proven, renewed, rolled back." "$off"
