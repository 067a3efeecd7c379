# Read by up and test, not run: makes .venv and installs what has changed since.
# Nothing is fetched when nothing has changed, so that both work offline afterwards.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$root"
python=$root/.venv/bin/python

find_python() {
    for name in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11 or later is needed (name one by PYTHON=...)." >&2
    exit 1
}

# What an installation from a lock is made of: its packages, and the client of this checkout.
contents() {
    cat -- "$1" sdk/pyproject.toml | cksum
}

# install <lock>: once for each content of it, and nothing whose hash the lock does not name
install() {
    stamp=$root/.venv/.installed-$1
    if [ "$(cat -- "$stamp" 2>/dev/null)" != "$(contents "$1")" ]; then
        echo "Installing $1 (once)" >&2
        "$python" -m pip install -qq --disable-pip-version-check \
            --no-warn-script-location --require-hashes -r "$1" >&2
        # A directory has no hash. What the client needs, and what builds it, is in the lock.
        "$python" -m pip install -qq --disable-pip-version-check \
            --no-warn-script-location --no-deps --no-build-isolation --no-index -e ./sdk >&2
        contents "$1" >"$stamp"
    fi
}

# A virtual environment that was moved, or whose Python has gone, is made anew.
if ! "$python" -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; then
    found=$(find_python)
    "$found" -m venv --clear "$root/.venv"
fi
install requirements.lock
