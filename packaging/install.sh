#!/bin/sh
# Installs renewd from a build, and takes it away again.
#
#   packaging/install.sh [--prefix DIR] [--from DIR]            install (or upgrade)
#   packaging/install.sh [--prefix DIR] --undo [--purge]        remove
#
#   --prefix DIR   below which programs, units and pages go (default /usr/local)
#   --from DIR     where the two programs are (default target/release)
#   --undo         remove exactly what was installed; an edited configuration and all state stay
#   --purge        with --undo: remove configuration and state as well, with every key and certificate in it
#   DESTDIR        environment: directory put before every path, for packages and tests
#
# What was put is written to PREFIX/share/renewd/manifest, which --undo reads. An existing configuration is never
# overwritten, unless it is an earlier sample that nobody touched.
set -eu

usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" | sed '/^set/d'; }
fail() { status=$1; shift; echo "install.sh: $*" >&2; exit "$status"; }

here=$(cd "$(dirname "$0")/.." && pwd)
prefix=/usr/local
from=$here/target/release
undo=no
purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=${2:?--prefix wants a directory}; shift ;;
    --from) from=${2:?--from wants a directory}; shift ;;
    --undo) undo=yes ;;
    --purge) purge=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
  shift
done
case $prefix in /*) ;; *) fail 64 "--prefix wants an absolute directory, not '$prefix'" ;; esac
if [ $purge = yes ] && [ $undo = no ]; then fail 64 "--purge goes with --undo"; fi

prefix=${prefix%/}
dest=${DESTDIR:-}
dest=${dest%/}
manifest=$dest$prefix/share/renewd/manifest
# systemd is told only about the system that runs, never about a directory that becomes a package.
if [ -z "$dest" ] && [ -d /run/systemd/system ]; then live=yes; else live=no; fi
if [ -z "$dest" ] && [ "$(id -u)" != 0 ]; then fail 77 "run me as root, or set DESTDIR"; fi

digest() { sha256sum <"$1" | cut -d' ' -f1; }

# The digest with which the last installation recorded a file; empty if it did not.
recorded() { if [ -f "$manifest" ]; then sed -n "s#^\(file\|config\) \([0-9a-f]*\) $1\$#\2#p" "$manifest"; fi; }

# --- undo ---------------------------------------------------------------------------------------------------------

if [ $undo = yes ]; then
  if [ ! -f "$manifest" ] && [ $purge = no ]; then fail 66 "nothing to undo: $manifest does not exist"; fi
  if [ $live = yes ]; then
    systemctl --quiet disable --now renewd.service renewd.timer renewd-once.service renewd-ccm.service 2>/dev/null || true
  fi
  if [ -f "$manifest" ]; then
    list=$(mktemp)
    cp "$manifest" "$list"
    while read -r kind sum path; do
      file=$dest$path
      case $kind in
        file) rm -f "$file" ;;
        config)
          if [ -f "$file" ] && [ "$(digest "$file")" != "$sum" ] && [ $purge = no ]; then
            echo "kept, since it was edited: $file"
          else
            rm -f "$file"
          fi
          ;;
      esac
    done <"$list"
    rm -f "$manifest"
    # The deepest first; what others put something into stays.
    sed -n 's/^dir - //p' "$list" | sort -r | while read -r path; do rmdir "$dest$path" 2>/dev/null || true; done
    rm -f "$list"
  fi
  if [ $purge = yes ]; then
    # The server's state is a link to a directory that systemd made for its dynamic user.
    rm -rf "$dest/etc/renewd" "$dest/var/lib/renewd" "$dest/var/lib/renewd-ccm" "$dest/var/lib/private/renewd-ccm"
  else
    for kept in "$dest/var/lib/renewd" "$dest/var/lib/renewd-ccm"; do
      if [ -d "$kept" ]; then echo "kept, keys and certificates are in it: $kept"; fi
    done
  fi
  if [ $live = yes ]; then
    journalctl --update-catalog || true
    systemctl daemon-reload
    systemctl reset-failed 'renewd*' 2>/dev/null || true
  fi
  exit 0
fi

# --- install ------------------------------------------------------------------------------------------------------

for program in renewd renewd-ccm; do
  [ -x "$from/$program" ] || fail 66 "$from/$program is missing: run 'make release' first, or say --from DIR"
done

new=$(mktemp)
work=$(mktemp)
trap 'rm -f "$new" "$work" "$work.completions"' EXIT

# Makes a directory and those above it, remembering each that was not there.
directory() { # MODE PATH
  if [ -d "$dest$2" ]; then
    # Made by an earlier installation: still ours to remove.
    if [ -f "$manifest" ] && grep -qx "dir - $2" "$manifest"; then echo "dir - $2" >>"$new"; fi
    case $2 in /*/*) directory 0755 "${2%/*}" ;; esac
    return 0
  fi
  case $2 in /*/*) directory 0755 "${2%/*}" ;; esac
  install -d -m "$1" "$dest$2"
  echo "dir - $2" >>"$new"
}

# Puts one file. Units name the programs by /usr/bin, which becomes the prefix.
put() { # MODE SOURCE PATH
  directory 0755 "${3%/*}"
  case $3 in
    "$prefix"/lib/*)
      sed "s#/usr/bin/renewd#$prefix/bin/renewd#g" "$2" >"$work"
      install -m "$1" "$work" "$dest$3"
      ;;
    *) install -m "$1" "$2" "$dest$3" ;;
  esac
  echo "file $(digest "$dest$3") $3" >>"$new"
}

# Puts a sample where no configuration is, or over an earlier sample that nobody touched.
put_config() { # MODE SOURCE PATH
  directory 0755 "${3%/*}"
  if [ -e "$dest$3" ]; then
    before=$(recorded "$3")
    if [ -z "$before" ]; then return 0; fi
    if [ "$(digest "$dest$3")" != "$before" ]; then
      echo "config $before $3" >>"$new"
      return 0
    fi
  fi
  install -m "$1" "$2" "$dest$3"
  echo "config $(digest "$dest$3") $3" >>"$new"
}

put 0755 "$from/renewd" "$prefix/bin/renewd"
put 0755 "$from/renewd-ccm" "$prefix/bin/renewd-ccm"

for unit in "$here"/systemd/*.service "$here"/systemd/*.timer; do
  put 0644 "$unit" "$prefix/lib/systemd/system/${unit##*/}"
done
for unit in "$here"/systemd/user/*.service; do
  put 0644 "$unit" "$prefix/lib/systemd/user/${unit##*/}"
done
put 0644 "$here/systemd/renewd.preset" "$prefix/lib/systemd/system-preset/80-renewd.preset"
put 0644 "$here/systemd/renewd.catalog" "$prefix/lib/systemd/catalog/renewd.catalog"
put 0644 "$here/systemd/renewd.sysusers" "$prefix/lib/sysusers.d/renewd.conf"
put 0644 "$here/systemd/renewd.tmpfiles" "$prefix/lib/tmpfiles.d/renewd.conf"

for page in "$here"/docs/man/*.[158]; do
  [ -f "$page" ] || continue
  put 0644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
done
for program in renewd renewd-ccm; do
  for shell in bash zsh fish; do
    # Programs for another machine cannot say it.
    "$from/$program" completions $shell >"$work.completions" 2>/dev/null || continue
    case $shell in
      bash) put 0644 "$work.completions" "$prefix/share/bash-completion/completions/$program" ;;
      zsh) put 0644 "$work.completions" "$prefix/share/zsh/site-functions/_$program" ;;
      fish) put 0644 "$work.completions" "$prefix/share/fish/vendor_completions.d/$program.fish" ;;
    esac
  done
done
rm -f "$work.completions"
for text in CHANGELOG.md LICENSE docs/operations.md docs/alerts.md docs/control.md docs/ccm-operations.md docs/architecture.md docs/status.schema.json; do
  put 0644 "$here/$text" "$prefix/share/doc/renewd/${text##*/}"
done
for decision in "$here"/docs/adr/*.md; do
  put 0644 "$decision" "$prefix/share/doc/renewd/adr/${decision##*/}"
done
for example in "$here"/config/*.toml "$here"/config/policy.d/*.toml; do
  [ -f "$example" ] || continue
  put 0644 "$example" "$prefix/share/doc/renewd/examples/${example##*/}"
done

directory 0755 /etc/renewd/policy.d
directory 0700 /etc/renewd/secrets
put_config 0644 "$here/config/renewd.toml" /etc/renewd/renewd.toml

# What an earlier version put and this one does not.
if [ -f "$manifest" ]; then
  while read -r kind sum path; do
    if [ "$kind" = file ] && ! grep -q " $path\$" "$new"; then rm -f "$dest$path"; fi
  done <"$manifest"
fi
directory 0755 "$prefix/share/renewd"
sort -u "$new" >"$work"
install -m 0644 "$work" "$manifest"

if [ $live = yes ]; then
  systemd-sysusers "$prefix/lib/sysusers.d/renewd.conf"
  systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/renewd.conf"
  journalctl --update-catalog
  systemctl daemon-reload
fi
echo "renewd is installed below $dest$prefix"
echo "next: edit $dest/etc/renewd/renewd.toml, check it with 'renewd validate', install what 'renewd systemd dropin' prints"
echo "(only for exports to absolute paths), then 'systemctl enable --now renewd'"
