#!/bin/sh
# Makes the Debian package from programs that were built.
#
#   packaging/deb.sh [--profile dev] [--output DIR]
#
#   --profile dev   take target/debug, as the tests do, packed quickly; default is target/release
#   --output DIR    where the package goes (default target/debian)
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
PATH="$PATH:$HOME/.cargo/bin"
profile=release
built=release
output=target/debian
fast=
while [ $# -gt 0 ]; do
  case $1 in
    --profile) profile=${2:?--profile wants a name}; shift ;;
    --output) output=${2:?--output wants a directory}; shift ;;
    *) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2; exit 64 ;;
  esac
  shift
done
if [ "$profile" = dev ]; then built=debug; fast="--fast --strip --no-dbgsym"; fi
cd "$here"
target=${CARGO_TARGET_DIR:-target}

cargo deb --version >/dev/null 2>&1 || cargo install --locked cargo-deb

mkdir -p target/completions
for program in renewd renewd-ccm; do
  "$target/$built/$program" completions bash >"target/completions/$program.bash"
  "$target/$built/$program" completions zsh >"target/completions/_$program"
  "$target/$built/$program" completions fish >"target/completions/$program.fish"
done
# shellcheck disable=SC2086 # a list of words
cargo deb --no-build --offline --quiet $fast --profile "$profile" --output "$output"
