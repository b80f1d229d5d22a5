#!/bin/bash
# Runs all tests (arguments go to cargo), names the slowest, and ends with the runner's own summary. BUILD_PROFILE is the profile
# of Cargo.toml that they are built with, where that is not the usual one.
#
# cargo-nextest runs each test in a process of its own; where it is missing, plain `cargo test` runs the same tests.
set -euo pipefail

# A changed golden file or snapshot is a failure here, never an update.
export INSTA_UPDATE=no
unset UPDATE_GOLDEN

log=$(mktemp)
trap 'rm -f "$log"' EXIT

if cargo nextest --version >/dev/null 2>&1; then
  junit=${CARGO_TARGET_DIR:-target}/nextest/${NEXTEST_PROFILE:-default}/junit.xml
  rm -f "$junit"
  status=0
  cargo nextest run ${BUILD_PROFILE:+--cargo-profile "$BUILD_PROFILE"} "$@" 2>&1 | tee "$log" || status=$?
  if [ -s "$junit" ]; then
    echo
    echo "slowest tests (seconds):"
    sed -n 's/.*<testcase name="\([^"]*\)".* time="\([0-9.]*\)".*/\2 \1/p' "$junit" |
      sort -rn | awk 'NR <= 10 { printf "%9.2f  %s\n", $1, $2 }'
    echo
  fi
  sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary ' | tail -n 1 || true
  exit "$status"
fi

# The filters of nextest are substrings, as are cargo's, but cargo takes only one and behind the options.
status=0
cargo test ${BUILD_PROFILE:+--profile "$BUILD_PROFILE"} --no-fail-fast --lib --bins --test it "$@" 2>&1 | tee "$log" || status=$?
echo
echo "binaries by time:"
awk '/^     Running /{ name = $2 " " $3 } /^test result:/{ sub(/.*finished in /, ""); printf "%9.2f  %s\n", $0, name }' "$log" | sort -rn
awk '/^test result:/{ passed += $4; failed += $6 } END { printf "\n%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
