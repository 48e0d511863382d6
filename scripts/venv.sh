#!/bin/sh
# Make a virtual environment with a Python that the locks are for, or say in one line what is missing and the command
# that installs it: venv.sh DIRECTORY [PYTHON]. Of several Pythons the oldest is taken: it is the image's.
set -eu

fail() {
  echo "make: $1" >&2
  exit 1
}

fits() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null
}

for python in ${2:-python3.11 python3.12 python3.13 python3}; do
  fits "$python" && break
done

if ! fits "$python"; then
  command -v "$python" > /dev/null || fail "Python 3.11 to 3.13 is missing; as root: apt-get install python3 python3-venv"
  found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not start"
  for version in 3.13 3.12 3.11; do
    if apt-cache show "python$version-venv" > /dev/null 2>&1; then
      fail "Python 3.11 to 3.13 is needed, $python is $found; as root: apt-get install python$version-venv"
    fi
  done
  fail "Python 3.11 to 3.13 is needed, $python is $found, and apt-get has none; name another: make PYTHON=/path/to/python3.12"
fi

"$python" -c 'import ensurepip, venv' 2> /dev/null ||
  fail "Python's venv is missing; as root: apt-get install $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
"$python" -m venv "$1"
