# Sourced by `up` and `test`: after `environment run` (or test, jdk) .venv holds what that lock file names.
# The repository is the folder above the script, or what `root` says.
# Needs a POSIX shell and Python 3.11 or newer; uses uv where it is installed.

root=$(CDPATH='' cd -- "${root:-$(dirname -- "$0")/..}" && pwd -P)
python=$root/.venv/bin/python

environment() {
    lock=$root/deploy/requirements/$1.txt
    stamp=$root/.venv/.tandem-$1
    wanted="$(cksum <"$lock") $root"
    if [ -x "$python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    [ -x "$python" ] || make_environment
    echo "Installing what deploy/requirements/$1.txt locks ..." >&2
    if ! install_locked "$lock"; then
        echo "The packages could not be installed." >&2
        echo "Fix: check the network and pip's settings (PIP_INDEX_URL), then run this again." >&2
        exit 1
    fi
    make_importable
    # Thirteen processes that compile what they import take three times as long to start.
    "$python" -m compileall -q -j 0 "$packages" "$root/contracts" "$root/order_service" \
        "$root/fulfillment_service" "$root/deploy" >/dev/null 2>&1 || true
    printf '%s' "$wanted" >"$stamp"
}

make_environment() {
    chosen=$(find_python) || {
        echo "Tandem needs Python 3.11 or newer, and none was found." >&2
        echo "Fix: install one (for example: apt install python3 python3-venv), name it in TANDEM_PYTHON, or uv." >&2
        exit 1
    }
    echo "Making .venv with $chosen ..." >&2
    rm -rf "$root/.venv"
    if ! "$chosen" -m venv "$root/.venv" >&2; then
        rm -rf "$root/.venv"
        if command -v uv >/dev/null 2>&1 && uv venv --quiet --python "$chosen" "$root/.venv"; then
            return 0
        fi
        echo "Fix: install the venv module of $chosen (for example: apt install python3-venv), or uv." >&2
        exit 1
    fi
}

# TANDEM_PYTHON names the one to take: one that was built without optimisation needs half as long again.
find_python() {
    for candidate in ${TANDEM_PYTHON:-python3.12 python3.11 python3.13 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    command -v uv >/dev/null 2>&1 && uv python find '>=3.11' 2>/dev/null
}

install_locked() {
    # uv does not read pip's settings, so where it fails pip may know the way.
    if command -v uv >/dev/null 2>&1 &&
        uv pip install --quiet --python "$python" --require-hashes -r "$1" >&2; then
        return 0
    fi
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip --upgrade >/dev/null 2>&1
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1" >&2
}

# The packages are used from the work tree: nothing is built, an edit is live.
make_importable() {
    packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$root" >"$packages/tandem.pth"
    printf '#!/bin/sh\nexec "%s" -m deploy.cli "$@"\n' "$python" >"$root/.venv/bin/tandem"
    chmod +x "$root/.venv/bin/tandem"
}
