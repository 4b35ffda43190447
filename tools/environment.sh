# The Python environment of the checkout, .venv; sourced by ./run, ./test and ./check, in the checkout.
#
#   make_environment NAME...   brings it to requirements/build.txt and requirements/NAME.txt, with flashlink on top
#
# Everything is pinned by hash. Stamps in .venv tell what it holds, so that a second call costs nothing.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "flashlink: $*"
  exit 1
}

# Print the first Python that is new enough.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if new_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  fail "needs Python 3.11 or newer; install it (on Debian and Ubuntu: apt-get install python3 python3-venv)"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Debian and Ubuntu ship venv in a package of its own.
provide_venv() {
  local package
  "$1" -c 'import ensurepip, venv' 2>/dev/null && return
  package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "$1 has no venv module; install it (on Debian and Ubuntu: apt-get install $package)"
  fi
  say "Installing $package ..."
  apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$package" >&2
  "$1" -c 'import ensurepip, venv' 2>/dev/null || fail "$package could not be installed; apt-get says why above"
}

# An environment that moved or was half made cannot be mended.
make_venv() {
  local python
  if new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 && at_home; then
    return
  fi
  python="$(find_python)" || exit 1
  provide_venv "$python"
  say "Making .venv with $("$python" -V) ..."
  rm -rf .venv
  "$python" -m venv .venv || fail "$python could not make .venv"
}

# The scripts in it name the folder that it was made in.
at_home() { [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" = "$PWD/.venv" ]; }

pip_install() {
  .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check "$@" ||
    fail "the environment could not be made; pip says why above"
}

# Print what decides whether a part of the environment is up to date.
digest() { { .venv/bin/python -V && pwd && cat "$@"; } 2>/dev/null | sha256sum | cut -d' ' -f1; }

stands() { [ "$(cat ".venv/.holds-$1" 2>/dev/null)" = "$(digest "${@:2}")" ]; }

stamp() { digest "${@:2}" >".venv/.holds-$1"; }

make_environment() {
  local name
  # One at a time; whoever waited finds it made.
  exec 9<tools/environment.sh
  flock 9
  for name in build "$@"; do
    stands "$name" "requirements/$name.txt" && continue
    make_venv
    say "Installing requirements/$name.txt ..."
    pip_install --require-hashes --use-pep517 --no-build-isolation -r "requirements/$name.txt"
    stamp "$name" "requirements/$name.txt"
  done
  if ! stands flashlink pyproject.toml; then
    pip_install --no-deps --no-build-isolation --editable .
    stamp flashlink pyproject.toml
  fi
  exec 9<&-
}
